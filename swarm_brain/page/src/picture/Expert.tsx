// One box of the picture: who it is, what it does now, and what came of it.

import { geometry } from "../brain/store";
import type { Box } from "../brain/routes";
import { dollars, seconds, share, whole } from "../figures";
import { plain } from "../words/markdown";
import { Glyph } from "./Glyph";
import { IN_WORDS, type Lit } from "./lit";

interface Props {
  box: Box;
  lit: Lit;
  chosen: boolean;
  reachable: boolean; // by Tab; the others by the arrow keys
  choose: () => void;
}

export function Expert({ box, lit, chosen, reachable, choose }: Props) {
  const { x, y, w, h } = box;
  const { light, saying } = lit;
  const about = light === "resting" && lit.gate === null ? role(box.name) : "";
  const salience = light === "ok" || light === "simulated" ? (saying?.salience ?? null) : null;
  return (
    <g
      class={`expert ${light}${chosen ? " chosen" : ""}${saying ? "" : " unasked"}`}
      data-expert={box.name}
      data-light={light}
      onClick={choose}
      transform={`translate(${x} ${y})`}
    >
      <rect class="halo" x="-5" y="-5" width={w + 10} height={h + 10} rx="9" />
      <rect class="body" width={w} height={h} rx="5" />
      {light === "simulated" && <rect class="hatch" width={w} height={h} rx="5" />}
      <Glyph light={light} x={15} y={19} />
      <text aria-hidden="true" class="name" x="27" y="23.5" style={{ fontSize: `${fitted(box.name, w)}px` }}>
        {box.name}
      </text>
      {broken(about, Math.floor((w - 20) / 6)).map((part, n) => (
        <text aria-hidden="true" class="line faint" x="12" y={(h > 70 ? 44 : 40) + 15 * n}>
          {part}
        </text>
      ))}
      <text aria-hidden="true" class="line" x="12" y={h > 70 ? 44 : 40}>
        {first(lit)}
      </text>
      <text aria-hidden="true" class="line faint" x="12" y={h > 70 ? 60 : 55}>
        {second(lit, Math.floor((w - 20) / 6.4))}
      </text>
      {salience !== null && (
        <g class="salience">
          <rect class="track" x="0" y={h - 4} width={w} height="4" />
          <rect class="fill" x="0" y={h - 4} width={w * Math.min(1, salience)} height="4" />
        </g>
      )}
      <rect
        class="touch"
        role="button"
        tabindex={reachable ? 0 : -1}
        aria-pressed={chosen}
        aria-label={described(box, lit)}
        width={w}
        height={h}
      />
    </g>
  );
}

// Longer names than the box has room for are written smaller, never over its edge.
function fitted(name: string, w: number): number {
  return Math.min(w > 130 ? 14.5 : 13.5, (w - 33) / (name.length * 0.57));
}

/** What its prompt says that it does. */
export function role(name: string): string {
  return /\((.*)\)\s*$/.exec(geometry.value?.roles?.[name] ?? "")?.[1] ?? "";
}

/** Break a text into at most three lines. */
function broken(text: string, letters: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ").filter(Boolean)) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + word.length < letters)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines.slice(0, 3);
}

function first({ light, saying, gate }: Lit): string {
  if (light === "resting") return "";
  if (light === "gated") return gate === null ? "not woken" : IN_WORDS.gated;
  if (light === "running") return saying?.text ? "writing" : "reading";
  if (light === "ok") return saying?.human ? `by a person: ${saying.human}` : figures(saying);
  return IN_WORDS[light];
}

function figures(saying: Lit["saying"]): string {
  if (!saying) return "";
  const tokens = saying.tokens === null ? "" : `${whole(saying.tokens)} tok`;
  const time = saying.latency ? seconds(saying.latency) : "";
  return [tokens, time].filter(Boolean).join(" · ");
}

function second({ light, saying, gate, revised }: Lit, room: number): string {
  if (light === "running" && saying) return tail(saying.text, room);
  if (light === "failed" || light === "simulated") return tail(saying?.error ?? "", room, true);
  if ((light === "gated" || light === "resting") && gate !== null) return `gate ${share(gate)}`;
  const known = saying?.salience ?? null;
  const salience = light === "ok" && known !== null ? `salience ${share(known)}` : "";
  return revised ? [salience.replace("salience", "sal."), "revised"].filter(Boolean).join(" · ") : salience;
}

function tail(text: string, room: number, start = false): string {
  const one = plain(text.slice(start ? 0 : -room * 2, start ? room * 2 : undefined)).replace(/\s+/g, " ");
  if (one.length <= room) return one;
  return start ? `${one.slice(0, room - 1)}…` : `…${one.slice(1 - room)}`;
}

/** The box in words, for those who do not see it. */
export function described(box: Box, lit: Lit): string {
  const { light, saying, gate, activation } = lit;
  const parts = [`${box.name}, ${box.kind}`, IN_WORDS[light]];
  if (saying?.wokenBy.length)
    parts.push(`woken by ${saying.wokenBy.map((w) => `${w.from} with ${share(w.activation)}`).join(", ")}`);
  else if (activation !== null) parts.push(`activation ${share(activation)}`);
  if (gate !== null) parts.push(`gate ${share(gate)}`);
  if (saying?.salience != null) parts.push(`salience ${share(saying.salience)}`);
  if (saying?.tokens != null) parts.push(`${whole(saying.tokens)} tokens`);
  if (saying?.cost) parts.push(dollars(saying.cost));
  if (lit.revised) parts.push("revised");
  if (saying?.error) parts.push(saying.error);
  return parts.join("; ");
}
