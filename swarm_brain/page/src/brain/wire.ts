// What the server says: graph/events.py, graph/state.py, swarm_brain/threads/history.py and
// swarm_brain/picture/layout.py, as JSON. Only what the page reads is named.

export interface Waking {
  from: string;
  activation: number;
}

export interface Reached {
  to: string;
  gate: number | null;
  activation: number;
  fired: boolean;
}

export interface Recall {
  id: string;
  kind: "episode" | "fact";
  text: string;
  origin: string;
  date: string;
  score: number;
}

export interface Limits {
  tokens: number | null;
  usd: number | null;
  seconds: number | null;
}

export interface Entered {
  source: string;
  salience: number;
}

export type SignalStatus = "ok" | "simulated" | "failed";
export type Provenance = "full" | "degraded" | "simulated";

export interface Report {
  name: string;
  step: number;
  status: SignalStatus | "skipped";
  model: string | null;
  input_tokens: number | null;
  output_tokens: number | null;
  latency_s: number;
  woken_by: Waking[];
  human: string | null;
  error: string | null;
}

export interface Usage {
  calls: number;
  input_tokens: number | null;
  output_tokens: number | null;
  cached_tokens: number | null;
  cost_usd: number | null;
}

export interface Result {
  final_output: string;
  provenance: Provenance;
  stop_reason: string;
  effort: "low" | "high";
  verdict: string | null;
  agreement: number | null;
  dissent: string[];
  revised: boolean;
  steps: number;
  model: string;
  recalled: Recall[];
  experts: Report[];
  usage: Usage;
  error: string | null;
  notes: string[];
}

export interface Pause {
  id?: string;
  expert: string;
  step: number;
  model: string;
  woken_by: Waking[];
  procedure: string;
  sees: string;
  actions: string[];
}

export interface Begun {
  event: "begun";
  thread?: string | null;
  run?: string;
  effort: "low" | "high";
  max_steps?: number;
  model: string;
  woken: string[];
  recalled: Recall[];
  limits?: Limits;
}

export interface Started {
  event: "started";
  thread: string | null;
  run: string;
}

/** The whole of what an expert has said, however much of it was streamed. */
export interface Told {
  event: "said";
  expert: string;
  step: number;
  content: string;
}

export interface Woken {
  event: "woken";
  expert: string;
  step: number;
  model: string;
  woken_by: Waking[];
}

export interface Token {
  event: "token";
  expert: string;
  step: number;
  text: string;
}

export interface Answered {
  event: "answered";
  expert: string;
  step: number;
  model: string;
  status: SignalStatus;
  salience: number | null;
  verdict: string | null;
  edges: Reached[];
  attempts?: number;
  input_tokens: number | null;
  output_tokens: number | null;
  cost_usd: number | null;
  latency_s: number;
  human: string | null;
  error: string | null;
}

export interface Spending {
  event: "budget";
  step: number;
  spent: Limits;
  limits: Limits;
}

export interface Broadcasting {
  event: "broadcast";
  step: number;
  capacity: number;
  entered: Entered[];
}

export interface Revised {
  event: "revised";
  expert: string;
  step: number;
  reason: string;
}

export interface Paused {
  event: "paused";
  paused: Pause[];
}

export interface Finished {
  event: "finished";
  result: Result;
}

export interface Failed {
  event: "error";
  error: { message: string; type?: string; code?: string | null };
}

export type Event =
  | Started
  | Begun
  | Told
  | Woken
  | Token
  | Answered
  | Spending
  | Broadcasting
  | Revised
  | Paused
  | Finished
  | Failed;

export interface Said {
  expert: string;
  status: SignalStatus;
  woken_by: Waking[];
  content: string;
  model: string;
  tokens: number | null;
  cost_usd: number | null;
  latency_s: number;
  human: string | null;
  error: string | null;
  salience?: number;
  verdict?: string | null;
  edges?: Reached[] | null;
}

export interface Run {
  run_id: string;
  question: string;
  date: string;
  topology: string;
  steps: { step: number; experts: Said[]; entered?: Entered[] }[];
  result: Result | null;
  usage: Usage;
  next: string[];
  paused: Pause[];
}

export interface ThreadLine {
  id: string;
  question: string;
  date: string;
  provenance: Provenance | null;
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
