// What is to be seen of a run: a value, and how each event changes it. Pure.

import type { Answered, Entered, Event, Limits, Pause, Reached, Recall, Result, Waking } from "./wire";

export type Phase = "idle" | "running" | "paused" | "finished" | "failed" | "cut";

/** One expert in one step. `withdrawn` are texts that a revision or a retry has replaced. */
export interface Saying {
  expert: string;
  step: number;
  status: "running" | "paused" | "stopped" | Answered["status"];
  text: string;
  withdrawn: { text: string; reason: string }[];
  wokenBy: Waking[];
  model: string;
  edges: Reached[];
  salience: number | null;
  verdict: string | null;
  tokens: number | null;
  cost: number | null;
  latency: number | null;
  human: string | null;
  error: string | null;
}

export interface Broadcast {
  step: number;
  capacity: number | null;
  entered: Entered[];
}

export interface View {
  phase: Phase;
  thread: string | null;
  run: string | null;
  effort: "low" | "high" | null;
  maxSteps: number | null;
  model: string | null;
  step: number;
  recalled: Recall[];
  spent: Limits | null;
  limits: Limits | null;
  sayings: Saying[];
  broadcasts: Broadcast[];
  skipped: string[];
  paused: Pause[];
  result: Result | null;
  error: string | null;
}

export const NOTHING: View = {
  phase: "idle",
  thread: null,
  run: null,
  effort: null,
  maxSteps: null,
  model: null,
  step: 0,
  recalled: [],
  spent: null,
  limits: null,
  sayings: [],
  broadcasts: [],
  skipped: [],
  paused: [],
  result: null,
  error: null,
};

/** The view after these events. */
export function viewOf(events: readonly Event[], from: View = NOTHING): View {
  return events.reduce(next, from);
}

/** The view after one event more. */
export function next(view: View, event: Event): View {
  switch (event.event) {
    case "started":
      return { ...NOTHING, phase: "running", thread: event.thread, run: event.run };
    case "begun":
      return {
        ...view,
        effort: event.effort,
        maxSteps: event.max_steps,
        model: event.model,
        recalled: event.recalled,
        limits: event.limits,
      };
    case "woken": {
      const before = saying(view, event.expert, event.step);
      const again = before ? { text: before.text, withdrawn: before.withdrawn } : {};
      const woken = { ...silent(event.expert, event.step), ...again, model: event.model };
      return put(
        { ...view, phase: "running", step: Math.max(view.step, event.step), paused: [] },
        { ...woken, wokenBy: event.woken_by },
      );
    }
    case "token":
      return changed(view, event.expert, event.step, (s) => ({ ...s, text: s.text + event.text }));
    case "revised":
      return changed(view, event.expert, event.step, (s) => withdrawn(s, event.reason));
    case "answered":
      return changed(view, event.expert, event.step, (s) => answered(s, event));
    case "budget":
      return { ...view, spent: event.spent, limits: event.limits };
    case "broadcast": {
      const broadcast = { step: event.step, capacity: event.capacity, entered: event.entered };
      const others = view.broadcasts.filter((other) => other.step !== event.step);
      return { ...view, broadcasts: [...others, broadcast].sort((a, b) => a.step - b.step) };
    }
    case "paused":
      return event.paused.reduce<View>(
        (shown, pause) =>
          changed(shown, pause.expert, pause.step, (s) => ({
            ...s,
            status: "paused",
            wokenBy: pause.woken_by,
          })),
        { ...view, phase: "paused", paused: event.paused },
      );
    case "finished":
      return finished(view, event.result);
    case "error": {
      const cut = event.error.code === "cancelled";
      return halted({ ...view, phase: cut ? "cut" : "failed", error: cut ? null : event.error.message });
    }
    default: // a newer server tells more
      return view;
  }
}

/** The view of a run that has stopped: no expert is running. */
export function halted(view: View): View {
  const still = (s: Saying): Saying => (s.status === "running" ? { ...s, status: "stopped" } : s);
  return { ...view, sayings: view.sayings.map(still) };
}

/** This expert's latest words, if any. */
export function lastOf(view: View, expert: string): Saying | undefined {
  return view.sayings.findLast((s) => s.expert === expert);
}

/** Whether an event comes before all steps. */
export const opening = (e: Event) => e.event === "begun" || e.event === "started";

/** The highest step of these events. */
export function stepsOf(events: readonly Event[]): number {
  return events.reduce((most, e) => ("step" in e ? Math.max(most, e.step) : most), 0);
}

/** The events up to a step: 0 is before the first step, null is all. */
export function until(events: readonly Event[], step: number | null): Event[] {
  if (step === null) return [...events];
  return events.filter((e) => ("step" in e ? e.step <= step : opening(e)));
}

/** One event more. `started` begins a log; an expert's words are one event, however many came. */
export function logged(events: Event[], event: Event): Event[] {
  if (event.event === "started") return [event];
  if (event.event !== "token") return [...events, event];
  const at = events.findLastIndex((e) => "expert" in e && e.expert === event.expert && e.step === event.step);
  const before = events[at];
  if (before?.event !== "token") return [...events, event];
  return events.with(at, { ...before, text: before.text + event.text });
}

function saying(view: View, expert: string, step: number): Saying | undefined {
  return view.sayings.find((s) => s.expert === expert && s.step === step);
}

function put(view: View, entry: Saying): View {
  const others = view.sayings.filter((s) => s.expert !== entry.expert || s.step !== entry.step);
  return { ...view, sayings: [...others, entry] };
}

// A pause comes before its expert is woken.
function changed(view: View, expert: string, step: number, how: (s: Saying) => Saying): View {
  const at = view.sayings.findIndex((s) => s.expert === expert && s.step === step);
  if (at < 0) return put(view, how(silent(expert, step)));
  return { ...view, sayings: view.sayings.with(at, how(view.sayings[at] as Saying)) };
}

function silent(expert: string, step: number): Saying {
  return {
    expert,
    step,
    status: "running",
    text: "",
    withdrawn: [],
    wokenBy: [],
    model: "",
    edges: [],
    salience: null,
    verdict: null,
    tokens: null,
    cost: null,
    latency: null,
    human: null,
    error: null,
  };
}

function withdrawn(s: Saying, reason: string): Saying {
  if (!s.text) return { ...s, withdrawn: [...s.withdrawn, { text: "", reason }] };
  return { ...s, text: "", withdrawn: [...s.withdrawn, { text: s.text, reason }] };
}

function answered(s: Saying, event: Answered): Saying {
  const known = event.input_tokens !== null && event.output_tokens !== null;
  return {
    ...s,
    status: event.status,
    text: event.content,
    model: event.model,
    edges: event.edges ?? [],
    salience: event.salience,
    verdict: event.verdict,
    tokens: known ? (event.input_tokens ?? 0) + (event.output_tokens ?? 0) : null,
    cost: event.cost_usd,
    latency: event.latency_s,
    human: event.human,
    error: event.error,
  };
}

function finished(view: View, result: Result): View {
  return halted({
    ...view,
    phase: "finished",
    effort: result.effort,
    model: result.model,
    recalled: result.recalled,
    skipped: result.experts.filter((e) => e.status === "skipped").map((e) => e.name),
    paused: [],
    result,
  });
}
