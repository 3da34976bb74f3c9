// What the page knows, as signals, and what can be done with it.

import { batch, computed, signal } from "@preact/signals";
import * as api from "./api";
import { halted, logged, next, NOTHING, until, viewOf, type View } from "./view";
import type { Geometry, Me, Preset, Run, ThreadLine } from "./routes";
import type { Event } from "./wire";

export const me = signal<Me | null>(null);
export const locked = signal<string | null>(null); // why a key is asked for
export const geometry = signal<Geometry | null>(null);
export const presets = signal<Preset[]>([]);
export const schema = signal<Record<string, unknown> | null>(null);
export const threads = signal<ThreadLine[] | null>(null);
export const problem = signal<{ message: string; hint: string } | null>(null);
export const news = signal(""); // read out by screen readers

export const thread = signal<string | null>(null);
export const runs = signal<Run[]>([]); // of this thread, as saved
export const shown = signal<number | null>(null); // which of them; null is the live one
export const question = signal("");
export const events = signal<Event[]>([]);
export const live = signal<View>(NOTHING);
export const began = signal<number | null>(null); // performance.now() of the live run
export const at = signal<number | null>(null); // the step looked at; null is the latest
export const selected = signal<string | null>(null);

/** What is looked at: the run as it is, or as it was after a step. */
export const view = computed<View>(() =>
  at.value === null ? live.value : viewOf(until(events.value, at.value)),
);
export const running = computed(() => live.value.phase === "running");
/** Whether the thread's last run stands still in the middle. */
export const unfinished = computed(
  () => threads.value?.find((line) => line.id === thread.value)?.unfinished ?? false,
);
/** Only the last run of a thread can be forked or resumed. */
export const latest = computed(() => shown.value === null || shown.value === runs.value.length - 1);

let flight: AbortController | null = null;
let waiting: Event[] = [];

/** Load what the page stands on; asks for a key where one is needed. */
export async function open(): Promise<void> {
  const named = /^#thread=([\w-]+)$/.exec(location.hash)?.[1];
  await guarded(async () => {
    me.value = await api.me();
    const [drawn, chosen, form] = await Promise.all([api.picture(), api.presets(), api.settings()]);
    batch(() => {
      geometry.value = drawn;
      presets.value = chosen;
      schema.value = form;
      locked.value = null;
    });
    await list();
    if (named && live.value.phase === "idle") await show(named);
  });
}

export async function list(): Promise<void> {
  threads.value = await api.threads();
}

/** Show a saved thread; its last run unless another is named. */
export async function show(id: string, number?: number): Promise<void> {
  leave();
  await guarded(async () => {
    const saved = (await api.thread(id)).runs;
    batch(() => {
      thread.value = id;
      runs.value = saved;
      look(number ?? saved.length - 1);
    });
    name(id);
  });
}

/** Look at one of the thread's saved runs. */
export function look(number: number): void {
  const run = runs.value[number];
  if (!run) return;
  batch(() => {
    shown.value = number;
    question.value = run.question;
    events.value = run.events;
    const view = viewOf(events.value);
    live.value = view.phase === "running" ? { ...halted(view), phase: "cut" } : view;
    began.value = at.value = null;
    selected.value = null;
  });
}

/** An empty page. */
export function clear(): void {
  leave();
  batch(() => {
    thread.value = shown.value = at.value = selected.value = began.value = null;
    runs.value = [];
    question.value = "";
    events.value = [];
    live.value = NOTHING;
    problem.value = null;
  });
  name(null);
}

export async function remove(id: string): Promise<void> {
  await guarded(async () => {
    await api.forget(id);
    if (thread.value === id) clear();
    await list();
  });
}

/** Ask; false if the server did not begin with it. */
export async function ask(asked: api.Asked): Promise<boolean> {
  question.value = asked.question;
  const on = thread.value ? { ...asked, thread: thread.value } : asked;
  await follow(NOTHING, (cut) => api.ask(on, cut));
  return live.value.run !== null;
}

/** Continue a run that was cut short or waits for a person. */
export async function resume(decision: object | null, pause?: string): Promise<void> {
  const id = thread.value;
  if (id) await follow(live.value, (cut) => api.resume(id, { decision, pause }, cut));
}

/** Run again from a step, with these experts' words replaced. */
export async function fork(step: number, edits: Record<string, string>): Promise<void> {
  const id = thread.value;
  if (!id) return;
  await follow(live.value, (cut) => api.fork(id, step, edits, cut));
}

/** Watch a run from its first event to its last. What was seen `before` stays until it begins. */
async function follow(before: View, start: (cut: AbortSignal) => api.Stream): Promise<void> {
  leave();
  const mine = (flight = new AbortController());
  const log = before === NOTHING ? [] : events.value;
  batch(() => {
    shown.value = at.value = problem.value = null;
    selected.value = null;
    events.value = log;
    live.value = { ...before, phase: "running" };
    began.value = performance.now();
  });
  await guarded(async () => {
    for await (const event of start(mine.signal)) take(event);
    await settle();
  }, mine);
  if (flight === mine && events.value === log) live.value = before; // it did not begin
}

/** Events wait for the next frame: a fast stream must not freeze the page. */
function take(event: Event): void {
  if (waiting.length === 0) requestAnimationFrame(digest);
  waiting.push(event);
}

function digest(): void {
  const some = joined(waiting);
  waiting = [];
  if (some.length === 0) return;
  batch(() => {
    events.value = some.reduce(logged, events.value);
    live.value = some.reduce(next, live.value);
  });
  some.forEach(tell);
  if (live.value.thread && live.value.thread !== thread.value) {
    thread.value = live.value.thread;
    name(thread.value);
  }
}

/** The same events with neighbouring words of one expert in one. */
function joined(some: Event[]): Event[] {
  const merged: Event[] = [];
  for (const e of some) {
    const last = merged.at(-1);
    const same =
      e.event === "token" && last?.event === "token" && last.expert === e.expert && last.step === e.step;
    if (same) merged[merged.length - 1] = { ...last, text: last.text + e.text };
    else merged.push(e);
  }
  return merged;
}

/** The stream has ended: what is saved now is what counts. */
async function settle(): Promise<void> {
  digest();
  if (live.value.phase === "running") live.value = { ...halted(live.value), phase: "cut" };
  flight = null;
  await list();
  me.value = await api.me();
  if (thread.value) runs.value = (await api.thread(thread.value)).runs;
}

/** Stop the run; finished answers are saved and can be resumed. */
export async function stop(): Promise<void> {
  const run = live.value.run;
  if (run) await api.cancel(run).catch(() => undefined);
  const mine = flight;
  setTimeout(() => flight === mine && mine && cut(), 1500);
}

async function cut(): Promise<void> {
  leave();
  await guarded(settle);
}

/** No connection outlives what it is for; the server cancels the run of one that is closed. */
export function leave(): void {
  flight?.abort();
  flight = null;
  waiting = [];
}

function name(id: string | null): void {
  history.replaceState(null, "", id ? `#thread=${id}` : location.pathname);
}

function tell(event: Event): void {
  if (event.event === "woken") news.value = `Step ${event.step}: ${event.expert} is writing.`;
  if (event.event === "revised") news.value = `${event.expert} is rewriting its text: ${event.reason}`;
  if (event.event === "paused") news.value = "The run is paused and waits for you.";
  if (event.event === "finished")
    news.value = `The answer is here. Its provenance is ${event.result.provenance}.`;
}

async function guarded(what: () => Promise<void>, mine?: AbortController): Promise<void> {
  try {
    await what();
  } catch (error) {
    if (mine && flight !== mine) return; // it was left on purpose
    if (mine) live.value = { ...halted(live.value), phase: live.value.step ? "cut" : "idle" };
    if (error instanceof api.Refusal && error.status === 401) {
      locked.value = api.hasKey() ? error.message : "";
      return;
    }
    problem.value = problemOf(error);
    news.value = problem.value.message;
  }
}

const HINTS: Record<number, string> = {
  0: "Nothing on the page is lost; finished work is saved on the server.",
  404: "It may have been deleted meanwhile. Open another thread, or ask again.",
  409: "Somebody else may be at work in this thread. Wait for it, or ask in a new one.",
  413: "Ask with fewer words.",
  503: "The server is going down or starting. Try again in a moment.",
};

function problemOf(error: unknown): { message: string; hint: string } {
  if (!(error instanceof api.Refusal)) {
    const reason = error instanceof Error ? error.message : String(error);
    return { message: `The connection broke: ${reason}`, hint: "Resume the run, or ask again." };
  }
  const wait = error.retryAfter ? `Try again in ${Math.ceil(error.retryAfter)} s.` : "";
  return { message: error.message, hint: wait || (HINTS[error.status] ?? "") };
}
