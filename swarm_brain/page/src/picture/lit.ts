// How the picture's parts look at one moment of a run. Pure.

import { lastOf, type Saying, type View } from "../brain/view";
import type { Box } from "../brain/routes";
import type { Line } from "./drawn";

export type Light =
  "resting" | "called" | "running" | "paused" | "stopped" | "ok" | "failed" | "simulated" | "gated";

export interface Lit {
  light: Light;
  saying: Saying | undefined;
  gate: number | null; // the gate that `attention` set, if any
  activation: number | null; // the strongest edge that reached it
  revised: boolean;
}

export const IN_WORDS: Record<Light, string> = {
  resting: "not asked",
  called: "woken, next",
  running: "writing",
  paused: "waits for you",
  stopped: "cut short",
  ok: "answered",
  failed: "failed",
  simulated: "simulated",
  gated: "gated off",
};

/** How an expert looks. */
export function lit(view: View, name: string): Lit {
  const saying = lastOf(view, name);
  const reached = reaching(view, name);
  const fired = reached.filter((edge) => edge.fired);
  const strongest = reached.length ? Math.max(...reached.map((edge) => edge.activation)) : null;
  return {
    light: saying?.status ?? unasked(view, name, reached.length > 0, fired.length > 0),
    saying,
    gate: reached.find((edge) => edge.gate !== null)?.gate ?? null,
    activation: strongest,
    revised: view.sayings.filter((s) => s.expert === name && s.status !== "running").length > 1,
  };
}

function unasked(view: View, name: string, reached: boolean, fired: boolean): Light {
  if (fired && view.phase === "running") return "called";
  return (reached && !fired) || view.skipped.includes(name) ? "gated" : "resting";
}

/** What the experts that have answered did to this one; a revision apart. */
function reaching(view: View, name: string) {
  return view.sayings.flatMap((s) => s.edges).filter((edge) => edge.to === name);
}

export interface Glow {
  state: "idle" | "below" | "fired" | "live";
  activation: number | null;
}

/** How an arrow looks: what it carried, and whether it carries it just now. */
export function glow(view: View, line: Line): Glow {
  const target = lastOf(view, line.target);
  const now = target?.status === "running";
  if (line.kind === "ends") return { state: view.result ? "fired" : "idle", activation: null };
  if (line.kind === "hears") {
    const heard = lastOf(view, line.source)?.status === "ok" && target !== undefined;
    return { state: heard ? (now ? "live" : "fired") : "idle", activation: null };
  }
  if (line.kind === "revision") return revision(view, line, now);
  const woken = view.sayings
    .filter((s) => s.expert === line.target)
    .flatMap((s) => s.wokenBy)
    .find((waking) => waking.from === line.source);
  const live = now && target.wokenBy.some((waking) => waking.from === line.source);
  if (woken) return { state: live ? "live" : "fired", activation: woken.activation };
  const edge = lastOf(view, line.source)?.edges.find((other) => other.to === line.target);
  if (!edge) return { state: "idle", activation: null };
  return { state: edge.fired ? "fired" : "below", activation: edge.activation };
}

function revision(view: View, line: Line, now: boolean): Glow {
  const critic = lastOf(view, line.source);
  const edge = critic?.edges.find((other) => other.to === line.target);
  const again = view.sayings.some((s) => s.expert === line.target && s.step > (critic?.step ?? 99));
  if (!again && !edge?.fired) return { state: edge ? "below" : "idle", activation: null };
  return { state: now ? "live" : "fired", activation: edge?.activation ?? null };
}

/** The steps in which the experts of a level spoke. */
export function stepsAt(view: View, boxes: Box[], level: number): number[] {
  const names = new Set(boxes.filter((box) => box.level === level).map((box) => box.name));
  const steps = view.sayings.filter((s) => names.has(s.expert)).map((s) => s.step);
  return [...new Set(steps)].sort((a, b) => a - b);
}
