import { describe, expect, test } from "vitest";
import { lastOf, logged, stepsOf, until, viewOf } from "../src/brain/view";
import type { Event } from "../src/brain/wire";
import { glow, lit } from "../src/picture/lit";

const begun: Event = {
  event: "begun",
  effort: "high",
  max_steps: 4,
  model: "m",
  woken: ["attention"],
  recalled: [],
  limits: { tokens: null, usd: null, seconds: null },
};
const started: Event = { event: "started", thread: "t", run: "r" };
const woken = (expert: string, step: number, from = "begin"): Event => ({
  event: "woken",
  expert,
  step,
  model: "m",
  woken_by: [{ from, activation: 0.8 }],
});
const token = (expert: string, step: number, text: string): Event => ({ event: "token", expert, step, text });
const answered = (expert: string, step: number, more: object = {}): Event => ({
  event: "answered",
  expert,
  step,
  model: "m",
  status: "ok",
  content: "",
  salience: 0.9,
  verdict: null,
  gates: {},
  defects: [],
  edges: [],
  attempts: 1,
  errors: 0,
  input_tokens: 10,
  output_tokens: 5,
  cached_tokens: null,
  cost_usd: null,
  latency_s: 1,
  human: null,
  error: null,
  ...more,
});
const edges = [
  { to: "reasoning", gate: null, activation: 0.9, fired: true },
  { to: "creative", gate: 0.2, activation: 0.18, fired: false },
];
const first = [
  started,
  begun,
  woken("attention", 1),
  token("attention", 1, "a "),
  answered("attention", 1, { edges }),
];
const failed = (message: string): Event => ({
  event: "error",
  error: { message, type: "server_error", param: null, code: null },
});
const line = (source: string, target: string) => ({
  source,
  target,
  kind: "wakes" as const,
  path: "",
  head: { x: 0, y: 0, turn: 0 },
  label: { x: 0, y: 0, anchor: "end" as const },
});

describe("the view of a run", () => {
  test("an edge that fired calls its target, a weak one gates it off", () => {
    const view = viewOf(first);
    expect(lit(view, "reasoning").light).toBe("called");
    expect(lit(view, "creative")).toMatchObject({ light: "gated", gate: 0.2, activation: 0.18 });
    expect(glow(view, line("attention", "creative"))).toEqual({ state: "below", activation: 0.18 });
  });

  test("an expert at work is lit, and the edge that woke it is live", () => {
    const view = viewOf([...first, woken("reasoning", 2, "attention")]);
    expect(lit(view, "reasoning").light).toBe("running");
    expect(glow(view, line("attention", "reasoning"))).toEqual({ state: "live", activation: 0.8 });
  });

  test("a withdrawn text is kept apart from the new one", () => {
    const view = viewOf([
      woken("synthesis", 3),
      token("synthesis", 3, "old"),
      { event: "revised", expert: "synthesis", step: 3, reason: "broken" },
      token("synthesis", 3, "new"),
    ]);
    expect(lastOf(view, "synthesis")).toMatchObject({
      text: "new",
      withdrawn: [{ text: "old", reason: "broken" }],
    });
  });

  test("unknown tokens stay unknown", () => {
    expect(lastOf(viewOf([answered("a", 1, { input_tokens: null })]), "a")?.tokens).toBeNull();
  });

  test("an error leaves nobody at work", () => {
    const view = viewOf([started, begun, woken("attention", 1), failed("no")]);
    expect(view).toMatchObject({ phase: "failed", error: "no" });
    expect(lit(view, "attention").light).toBe("stopped");
  });

  test("words of one expert are one event of the log, until they are withdrawn", () => {
    const events = [
      token("a", 1, "x"),
      token("b", 1, "y"),
      token("a", 1, "z"),
      { event: "revised", expert: "a", step: 1, reason: "r" } as Event,
      token("a", 1, "n"),
    ];
    const log = events.reduce(logged, [] as Event[]);
    expect(log).toHaveLength(4);
    expect(viewOf(log)).toEqual(viewOf(events));
  });
});

describe("a saved run", () => {
  const spent = { tokens: 30, usd: 1, seconds: 2 };
  const limits = { tokens: null, usd: null, seconds: null };
  const saved: Event[] = [
    started,
    begun,
    woken("perception", 1),
    answered("perception", 1, { content: "one", edges: null }),
    woken("reasoning", 2, "perception"),
    answered("reasoning", 2, { content: "two" }),
    { event: "budget", step: 2, spent, limits },
  ];

  test("shows what a live one showed", () => {
    const live = saved.flatMap((e) =>
      e.event === "answered" ? [token(e.expert, e.step, ` ${e.content}`), e] : [e],
    );
    const view = viewOf(saved);
    expect(view).toEqual(viewOf(live));
    expect(view.sayings.map((s) => [s.expert, s.text, s.status])).toEqual([
      ["perception", "one", "ok"],
      ["reasoning", "two", "ok"],
    ]);
    expect(glow(view, line("perception", "reasoning"))).toEqual({ state: "fired", activation: 0.8 });
    expect(view.spent).toEqual(spent);
  });

  test("can be looked at step by step", () => {
    expect(stepsOf(saved)).toBe(2);
    expect(viewOf(until(saved, 0)).sayings).toEqual([]);
    expect(viewOf(until(saved, 1)).sayings.map((s) => s.expert)).toEqual(["perception"]);
    expect(viewOf(until(saved, null))).toEqual(viewOf(saved));
  });

  test("gives way to the run that begins after it", () => {
    const fork = [started, begun, woken("perception", 1)];
    expect(viewOf([...saved, ...fork])).toEqual(viewOf(fork));
    expect([...saved, ...fork].reduce(logged, [] as Event[])).toEqual(fork);
  });
});
