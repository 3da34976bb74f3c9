// Requests to the server. The key is saved for this tab only and sent in a header, never in a URL.

import { eventsOf } from "./stream";
import type { Geometry, Me, Preset, Run, ThreadLine } from "./routes";
import type { Event } from "./wire";

const KEPT = "swarm-brain-key";

/** What the server answered instead: its status, its words, and when to try again. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly retryAfter: number | null = null,
  ) {
    super(message);
  }
}

export function keyGiven(key: string | null): void {
  if (key) sessionStorage.setItem(KEPT, key);
  else sessionStorage.removeItem(KEPT);
}

export function hasKey(): boolean {
  return sessionStorage.getItem(KEPT) !== null;
}

async function request(path: string, options: RequestInit = {}): Promise<Response> {
  const headers = new Headers(options.headers);
  const key = sessionStorage.getItem(KEPT);
  if (key) headers.set("Authorization", `Bearer ${key}`);
  if (options.body) headers.set("Content-Type", "application/json");
  const address = new URL(`brain/${path}`, document.baseURI);
  const response = await fetch(address, { ...options, headers, cache: "no-store" }).catch(unreachable);
  if (!response.ok) throw await refusal(response);
  return response;
}

function unreachable(error: Error): never {
  if (error.name === "AbortError") throw error;
  throw new Refusal(0, "The server cannot be reached. Is it still running? Then try again.");
}

async function refusal(response: Response): Promise<Refusal> {
  const body = (await response.json().catch(() => null)) as { error?: { message?: string } } | null;
  const message = body?.error?.message ?? `The server answered with status ${response.status}.`;
  const after = Number(response.headers.get("Retry-After"));
  return new Refusal(response.status, message, Number.isFinite(after) && after > 0 ? after : null);
}

async function read<T>(path: string): Promise<T> {
  return (await request(path)).json() as Promise<T>;
}

export const me = () => read<Me>("me");
export const picture = () => read<Geometry>("picture");
export const presets = () => read<Preset[]>("presets");
export const settings = () => read<Record<string, unknown>>("settings");
export const threads = () => read<ThreadLine[]>("threads?limit=200");
export const thread = (id: string) => read<{ id: string; runs: Run[] }>(`threads/${encodeURIComponent(id)}`);

export async function forget(id: string): Promise<void> {
  await request(`threads/${encodeURIComponent(id)}`, { method: "DELETE" });
}

export async function cancel(run: string): Promise<void> {
  await request(`runs/${encodeURIComponent(run)}/cancel`, { method: "POST" });
}

export interface Asked {
  question: string;
  thread?: string;
  preset?: string;
  settings?: Record<string, unknown>;
}

export type Stream = AsyncGenerator<Event>;

export const ask = (asked: Asked, signal: AbortSignal) => streamed("runs", asked, signal);
export const resume = (id: string, decided: object, signal: AbortSignal) =>
  streamed(`threads/${encodeURIComponent(id)}/resume`, { ...decided, with_past: true }, signal);
export const fork = (id: string, step: number, edits: Record<string, string>, signal: AbortSignal) =>
  streamed(`threads/${encodeURIComponent(id)}/fork`, { step, edits, with_past: true }, signal);

async function* streamed(path: string, body: object, signal: AbortSignal): Stream {
  const response = await request(path, { method: "POST", body: JSON.stringify(body), signal });
  if (response.body) yield* eventsOf<Event>(response.body);
}
