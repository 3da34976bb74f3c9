// One expert in full: its words, the edges that woke it, the experts it woke, and an editor.

import { useState } from "preact/hooks";
import { fork, geometry, latest, live, selected, view } from "../brain/store";
import type { Saying } from "../brain/view";
import { dollars, seconds, share, whole } from "../figures";
import { Glyph } from "../picture/Glyph";
import { role } from "../picture/Expert";
import { IN_WORDS, lit } from "../picture/lit";
import { plain } from "../words/markdown";
import { Stream, Words } from "../words/Words";

export function One({ name }: { name: string }) {
  const sayings = view.value.sayings.filter((s) => s.expert === name).sort((a, b) => b.step - a.step);
  const kind = geometry.value?.nodes.find((box) => box.name === name)?.kind;
  const look = lit(view.value, name);
  return (
    <section class="one" aria-labelledby="one-head" data-one={name}>
      <header>
        <h2 id="one-head">
          <svg width="16" height="16" viewBox="-7 -7 14 14" aria-hidden="true">
            <Glyph light={look.light} x={0} y={0} />
          </svg>
          {name}{" "}
          <small>
            {kind}, {IN_WORDS[look.light]}
          </small>
        </h2>
        <button type="button" class="quiet" onClick={() => (selected.value = null)}>
          All experts
        </button>
      </header>
      {role(name) && <p class="aside">It {role(name)}.</p>}
      {sayings.length === 0 && <p class="aside">{silence(look)}</p>}
      {sayings.map((s, n) => (
        <Entry key={s.step} entry={s} replaced={n > 0} />
      ))}
    </section>
  );
}

function silence({ light, gate, activation }: ReturnType<typeof lit>): string {
  if (light === "gated")
    return gate === null
      ? "It was not woken in this run, and cost nothing."
      : `Gated off: its gate is ${share(gate)}, so the edge reached ${share(activation ?? 0)}, too little to wake it. It cost nothing.`;
  return light === "called" ? "It has been woken and begins with the next step." : "It has not been asked.";
}

function Entry({ entry, replaced }: { entry: Saying; replaced: boolean }) {
  const { step, status, text, withdrawn, error } = entry;
  return (
    <article class={`saying ${status}${replaced ? " replaced" : ""}`} data-step={step}>
      {replaced && <p class="aside">Step {step}; replaced by what stands above.</p>}
      {withdrawn.length > 0 && <p class="aside">Rewritten: {withdrawn.map((w) => w.reason).join("; ")}</p>}
      {status === "simulated" && (
        <p class="simulation">Simulated: no model wrote this, and no other expert saw it.</p>
      )}
      {error && <p class="wrong">{plain(error)}</p>}
      {text && (status === "running" ? <Stream text={text} live /> : <Words text={text} />)}
      {!text && status === "running" && <p class="aside">It reads its prompt.</p>}
      <Figures entry={entry} />
      {withdrawn.some((w) => w.text) && (
        <details>
          <summary>What was withdrawn</summary>
          {withdrawn.map((w) => (
            <Stream text={w.text} live={false} />
          ))}
        </details>
      )}
      {!replaced && <Editor key={`${entry.expert}-${step}`} entry={entry} />}
    </article>
  );
}

function Figures({ entry }: { entry: Saying }) {
  return (
    <dl class="facts">
      <div class="wide">
        <dt>woken by</dt>
        <dd>{entry.wokenBy.map((w) => `${w.from} ${share(w.activation)}`).join(", ") || "–"}</dd>
      </div>
      {entry.edges.length > 0 && (
        <div class="wide">
          <dt>its edges</dt>
          <dd>
            {entry.edges.map((edge) => (
              <span class={edge.fired ? "fired" : "below"}>
                {edge.to} {share(edge.activation)}
                {edge.gate !== null && ` (gate ${share(edge.gate)})`} {edge.fired ? "woke it" : "did not"}
              </span>
            ))}
          </dd>
        </div>
      )}
      {entry.salience !== null && (
        <div>
          <dt>salience</dt>
          <dd>{share(entry.salience)}</dd>
        </div>
      )}
      {entry.latency !== null && (
        <>
          <div>
            <dt>tokens</dt>
            <dd>{whole(entry.tokens)}</dd>
          </div>
          <div>
            <dt>time</dt>
            <dd>{seconds(entry.latency)}</dd>
          </div>
          <div>
            <dt>cost</dt>
            <dd>{dollars(entry.cost)}</dd>
          </div>
        </>
      )}
      {entry.model && (
        <div class="wide">
          <dt>model</dt>
          <dd>{entry.model}</dd>
        </div>
      )}
      {entry.human && (
        <div>
          <dt>a person</dt>
          <dd>{entry.human}</dd>
        </div>
      )}
    </dl>
  );
}

/** Replace this expert's words, and continue the run from there. */
function Editor({ entry }: { entry: Saying }) {
  const [text, edit] = useState<string | null>(null);
  const { phase, thread } = live.value;
  if (phase !== "finished" || !thread || entry.status === "failed") return null;
  if (!latest.value) return <p class="aside">Only the thread's last run can be changed.</p>;
  if (text === null)
    return (
      <button type="button" onClick={() => edit(entry.text)}>
        Edit and run on from here
      </button>
    );
  return (
    <div class="editor">
      <label for="edited">
        What {entry.expert} says at step {entry.step} instead
      </label>
      <textarea id="edited" rows={8} value={text} onInput={(event) => edit(event.currentTarget.value)} />
      <p class="aside">
        The run continues from step {entry.step} with these words, as a new run in this thread.
      </p>
      <div class="buttons">
        <button
          type="button"
          class="main"
          disabled={!text.trim()}
          onClick={() => void fork(entry.step, { [entry.expert]: text })}
        >
          Run on
        </button>
        <button type="button" onClick={() => edit(null)}>
          Leave it
        </button>
      </div>
    </div>
  );
}
