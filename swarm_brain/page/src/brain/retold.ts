// A saved run as the events it would have told, so that past and present are seen alike. Pure.

import { opening } from "./view";
import type { Event, Limits, Reached, Run, Said } from "./wire";

/** The events of a saved run. Edges that did not fire are known only where the server says so. */
export function retold(run: Run, thread: string): Event[] {
  const first = run.steps[0]?.experts ?? [];
  const events: Event[] = [
    {
      event: "begun",
      thread,
      run: run.run_id,
      effort: run.result?.effort ?? (first.length > 1 ? "high" : "low"),
      model: run.result?.model ?? first[0]?.model ?? "",
      woken: first.map((said) => said.expert),
      recalled: run.result?.recalled ?? [],
    },
  ];
  const spent = { tokens: 0 as number | null, usd: 0 as number | null };
  for (const { step, experts, entered } of run.steps) {
    for (const said of experts) {
      const { expert, model, woken_by } = said;
      events.push({ event: "woken", expert, step, model, woken_by });
      if (said.content) events.push({ event: "token", expert, step, text: said.content });
      events.push(answer(said, step, said.edges ?? fired(run, said.expert, step)));
      spent.tokens = plus(spent.tokens, said.tokens);
      spent.usd = plus(spent.usd, said.cost_usd);
    }
    events.push({ event: "budget", step, spent: { ...spent, seconds: null }, limits: NO_LIMITS });
    if (entered?.length) events.push({ event: "broadcast", step, capacity: entered.length, entered });
  }
  if (run.paused.length) events.push({ event: "paused", paused: run.paused });
  if (run.result) events.push({ event: "finished", result: run.result });
  return events;
}

/** The events a fork begins with: those up to `step`, with these experts' words replaced. */
export function forked(events: Event[], step: number, edits: Record<string, string>): Event[] {
  return events
    .filter((e) => ("step" in e ? e.step <= step : opening(e)))
    .filter((e) => !(e.event === "revised" && e.step === step && e.expert in edits))
    .map((e) => {
      if (!("expert" in e) || e.step !== step) return e;
      const text = edits[e.expert];
      if (text === undefined) return e;
      if (e.event === "token") return { ...e, text };
      if (e.event === "said") return { ...e, content: text };
      return e.event === "answered" ? { ...e, human: "written", status: "ok" as const } : e;
    });
}

const NO_LIMITS: Limits = { tokens: null, usd: null, seconds: null };

function answer(said: Said, step: number, edges: Reached[]): Event {
  return {
    event: "answered",
    expert: said.expert,
    step,
    model: said.model,
    status: said.status,
    salience: said.salience ?? null,
    verdict: said.verdict ?? null,
    edges,
    input_tokens: said.tokens,
    output_tokens: said.tokens === null ? null : 0,
    cost_usd: said.cost_usd,
    latency_s: said.latency_s,
    human: said.human,
    error: said.error,
  };
}

/** The edges of an expert that woke somebody in a later step. */
function fired(run: Run, expert: string, step: number): Reached[] {
  const later = run.steps.filter((wave) => wave.step > step).flatMap((wave) => wave.experts);
  return later.flatMap((said) =>
    said.woken_by
      .filter((waking) => waking.from === expert)
      .map((waking) => ({ to: said.expert, gate: null, activation: waking.activation, fired: true })),
  );
}

function plus(sum: number | null, more: number | null): number | null {
  return sum === null || more === null ? null : sum + more;
}
