// Every expert's words, in the order of the run; or one expert in full.

import { geometry, selected, view } from "../brain/store";
import type { Saying } from "../brain/view";
import { seconds, whole } from "../figures";
import { Glyph } from "../picture/Glyph";
import { IN_WORDS } from "../picture/lit";
import { plain } from "../words/markdown";
import { One } from "./One";

export function Trace() {
  return selected.value ? <One name={selected.value} /> : <All />;
}

/** Seconds from the beginning at which each step began: the slowest expert of a step ends it. */
function starts(sayings: Saying[]): { of: Map<number, number>; total: number } {
  const of = new Map<number, number>();
  let total = 0;
  for (const step of [...new Set(sayings.map((s) => s.step))].sort((a, b) => a - b)) {
    of.set(step, total);
    total += Math.max(0, ...sayings.filter((s) => s.step === step).map((s) => s.latency ?? 0));
  }
  return { of, total };
}

function All() {
  const order = geometry.value?.nodes.map((box) => box.name) ?? [];
  const place = (s: Saying) => s.step * 1000 + order.indexOf(s.expert);
  const sayings = [...view.value.sayings].sort((a, b) => place(a) - place(b));
  const { of, total } = starts(sayings);
  return (
    <section class="trace" aria-labelledby="trace-head">
      <h2 id="trace-head">Who said what</h2>
      {sayings.length === 0 && <p class="aside">No expert has answered yet.</p>}
      <ol>
        {sayings.map((s) => (
          <li key={`${s.expert}-${s.step}`}>
            <button type="button" class={`trace-row ${s.status}`} onClick={() => (selected.value = s.expert)}>
              <svg width="14" height="14" viewBox="-7 -7 14 14" aria-hidden="true">
                <Glyph light={s.status} x={0} y={0} />
              </svg>
              <span class="who">{s.expert}</span>
              <span class="when">
                step {s.step} · {s.status === "ok" ? spent(s) : IN_WORDS[s.status]}
              </span>
              <span class="gist" dir="auto">
                {gist(s)}
              </span>
              <span class="bar" aria-hidden="true">
                <span style={bar(of.get(s.step) ?? 0, s.latency ?? 0, total)} />
              </span>
            </button>
          </li>
        ))}
      </ol>
    </section>
  );
}

function spent(s: Saying): string {
  return [s.tokens !== null && `${whole(s.tokens)} tok`, s.latency && seconds(s.latency)]
    .filter(Boolean)
    .join(" · ");
}

function gist(s: Saying): string {
  if (s.status === "failed") return plain(s.error ?? "");
  const text = s.status === "running" ? s.text.slice(-160) : s.text.slice(0, 160);
  return (
    plain(text)
      .replace(/[*`#]+/g, "")
      .replace(/\s+/g, " ") || "…"
  );
}

function bar(start: number, elapsed: number, total: number) {
  if (!total) return { width: "0" };
  return {
    marginInlineStart: `${(100 * start) / total}%`,
    width: `${Math.max(0.6, (100 * elapsed) / total)}%`,
  };
}
