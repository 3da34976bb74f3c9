// Where things of the picture stand: as the server laid them out, or upright for narrow screens. Pure.

import type { Arrow, Box, Geometry, LinkKind } from "../brain/routes";

export interface Line {
  source: string;
  target: string;
  kind: LinkKind;
  path: string;
  head: { x: number; y: number; turn: number }; // where it ends, and its direction in degrees
  label: { x: number; y: number; anchor: "start" | "end" };
}

export interface Drawn {
  width: number;
  height: number;
  boxes: Box[];
  lines: Line[];
}

export const isExpert = (box: Box) => box.kind !== "begin" && box.kind !== "finish";

/** The server's own layout, from left to right. */
export function lying(geometry: Geometry): Drawn {
  const { width, height, nodes, edges } = geometry;
  return { width, height, boxes: nodes, lines: edges.map(line) };
}

function line(edge: Arrow): Line {
  const end = edge.points.at(-1) ?? [0, 0];
  const back = edge.kind === "revision";
  return {
    source: edge.source,
    target: edge.target,
    kind: edge.kind,
    path: pathOf(edge.points),
    head: { x: end[0], y: end[1], turn: back ? 180 : 0 },
    label: { x: end[0] + (back ? 10 : -9), y: end[1] - 5.5, anchor: back ? "start" : "end" },
  };
}

function pathOf(points: [number, number][]): string {
  return "M" + points.map(([x, y], n) => `${n % 3 === 1 ? "C" : ""}${x},${y}`).join(" ");
}

const WIDTH = 344;
const GAP = 10;
const ROW_GAP = 52;
const HEIGHT = 66;
const END_HEIGHT = 26;

/** Levels as rows from top to bottom; wider than a phone only if a row has many experts. */
export function upright(geometry: Geometry): Drawn {
  const levels = [...new Set(geometry.nodes.map((box) => box.level))].sort((a, b) => a - b);
  const rows = levels.map((level) =>
    geometry.nodes.filter((box) => box.level === level).sort((a, b) => a.y - b.y),
  );
  const most = Math.max(...rows.map((row) => row.length));
  const width = Math.max(WIDTH, most * 106 + (most - 1) * GAP + 4);
  let y = 4;
  const boxes = rows.flatMap((row) => {
    const h = row.some(isExpert) ? HEIGHT : END_HEIGHT;
    const w = Math.min(row.some(isExpert) ? 156 : 72, (width - 4 - GAP * (row.length - 1)) / row.length);
    const start = (width - w * row.length - GAP * (row.length - 1)) / 2;
    const placed = row.map((box, n) => ({ ...box, x: start + n * (w + GAP), y, w, h }));
    y += h + ROW_GAP;
    return placed;
  });
  const at = new Map(boxes.map((box) => [box.name, box]));
  const lines = geometry.edges.flatMap((edge) => {
    const [from, to] = [at.get(edge.source), at.get(edge.target)];
    return from && to ? [downward(edge, from, to)] : [];
  });
  return { width, height: y - ROW_GAP + 4, boxes, lines };
}

const SHIFT: Record<LinkKind, number> = { wakes: 0, hears: -24, revision: 34, entry: 24, ends: -40 };

function downward(edge: Arrow, from: Box, to: Box): Line {
  const up = edge.kind === "revision";
  const x1 = from.x + from.w / 2 + SHIFT[edge.kind];
  // Arrows from several sources enter side by side, so that their numbers can be read.
  const lean = Math.sign(Math.round((x1 - to.x - to.w / 2) / 10)) * 34;
  const x2 = to.x + to.w / 2 + (up || to.kind === "finish" ? 0 : lean) + (up ? SHIFT.revision : 0);
  const [y1, y2] = up ? [from.y, to.y + to.h] : [from.y + from.h, to.y];
  const half = (y1 + y2) / 2;
  return {
    source: edge.source,
    target: edge.target,
    kind: edge.kind,
    path: `M${x1},${y1} C${x1},${half} ${x2},${half} ${x2},${y2}`,
    head: { x: x2, y: y2, turn: up ? -90 : 90 },
    label: { x: x2 + 6, y: up ? y2 + 15 : y2 - 9, anchor: "start" },
  };
}

export type Way = "left" | "right" | "up" | "down";

/** The expert that lies next in a direction, for the arrow keys. */
export function neighbour(boxes: Box[], name: string, way: Way): string | null {
  const from = boxes.find((box) => box.name === name);
  if (!from) return null;
  const sideways = way === "left" || way === "right";
  const sign = way === "left" || way === "up" ? -1 : 1;
  const reach = boxes.filter(isExpert).flatMap((box) => {
    const dx = box.x + box.w / 2 - from.x - from.w / 2;
    const dy = box.y + box.h / 2 - from.y - from.h / 2;
    const [along, across] = sideways ? [dx * sign, dy] : [dy * sign, dx];
    return along > 8 ? [{ name: box.name, far: along + 2 * Math.abs(across) }] : [];
  });
  return reach.sort((a, b) => a.far - b.far)[0]?.name ?? null;
}
