// What the routes below /brain answer; the events of a run are in wire.ts. Only what the page reads is named.

import type { Event, Result } from "./wire";

/** One question of a thread, as the events that it reported. */
export interface Run {
  run_id: string;
  question: string;
  events: Event[];
}

export interface ThreadLine {
  id: string;
  question: string;
  date: string;
  provenance: Result["provenance"] | null;
  cost_usd: number | null;
  unfinished: boolean;
  paused?: boolean;
}

export interface Box {
  name: string;
  kind: string;
  gated: boolean;
  level: number;
  x: number;
  y: number;
  w: number;
  h: number;
}

export type LinkKind = "wakes" | "hears" | "revision" | "entry" | "ends";

export interface Arrow {
  source: string;
  target: string;
  kind: LinkKind;
  points: [number, number][];
  path?: string;
}

export interface Geometry {
  width: number;
  height: number;
  nodes: Box[];
  edges: Arrow[];
  roles?: Record<string, string>;
}

export interface Me {
  name: string | null;
  keys: boolean;
  limits?: Record<string, number | null>;
  spent_today?: { usd?: number | null; tokens?: number | null };
}

export interface Preset {
  name: string;
  description: string;
  settings: Record<string, unknown>;
}
