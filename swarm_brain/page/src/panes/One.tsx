// One expert in full: what it said, what woke it, whom it woke; and other words for it.

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
        <Said key={s.step} said={s} replaced={n > 0} />
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

function Said({ said, replaced }: { said: Saying; replaced: boolean }) {
  const { step, status, text, withdrawn, error } = said;
  return (
    <article class={`saying ${status}${replaced ? " replaced" : ""}`} data-step={step}>
      {replaced && <p class="aside">Step {step}; replaced by what stands above.</p>}
      {withdrawn.length > 0 && <p class="aside">Written anew: {withdrawn.map((w) => w.reason).join("; ")}</p>}
      {status === "simulated" && (
        <p class="simulation">Simulated: no model wrote this, and no other expert saw it.</p>
      )}
      {error && <p class="wrong">{plain(error)}</p>}
      {text && (status === "running" ? <Stream text={text} live /> : <Words text={text} />)}
      {!text && status === "running" && <p class="aside">It reads what it was given.</p>}
      <Figures said={said} />
      {withdrawn.some((w) => w.text) && (
        <details>
          <summary>What was withdrawn</summary>
          {withdrawn.map((w) => (
            <Stream text={w.text} live={false} />
          ))}
        </details>
      )}
      {!replaced && <Editor key={`${said.expert}-${step}`} said={said} />}
    </article>
  );
}

function Figures({ said }: { said: Saying }) {
  return (
    <dl class="facts">
      <div class="wide">
        <dt>woken by</dt>
        <dd>{said.wokenBy.map((w) => `${w.from} ${share(w.activation)}`).join(", ") || "–"}</dd>
      </div>
      {said.edges.length > 0 && (
        <div class="wide">
          <dt>its edges</dt>
          <dd>
            {said.edges.map((edge) => (
              <span class={edge.fired ? "fired" : "below"}>
                {edge.to} {share(edge.activation)}
                {edge.gate !== null && ` (gate ${share(edge.gate)})`} {edge.fired ? "woke it" : "did not"}
              </span>
            ))}
          </dd>
        </div>
      )}
      {said.salience !== null && (
        <div>
          <dt>salience</dt>
          <dd>{share(said.salience)}</dd>
        </div>
      )}
      {said.latency !== null && (
        <>
          <div>
            <dt>tokens</dt>
            <dd>{whole(said.tokens)}</dd>
          </div>
          <div>
            <dt>time</dt>
            <dd>{seconds(said.latency)}</dd>
          </div>
          <div>
            <dt>cost</dt>
            <dd>{dollars(said.cost)}</dd>
          </div>
        </>
      )}
      {said.model && (
        <div class="wide">
          <dt>model</dt>
          <dd>{said.model}</dd>
        </div>
      )}
      {said.human && (
        <div>
          <dt>a person</dt>
          <dd>{said.human}</dd>
        </div>
      )}
    </dl>
  );
}

/** Other words for this expert, and the run anew from there. */
function Editor({ said }: { said: Saying }) {
  const [text, edit] = useState<string | null>(null);
  const { phase, thread } = live.value;
  if (phase !== "finished" || !thread || said.status === "failed") return null;
  if (!latest.value) return <p class="aside">Only the thread's last run can be changed.</p>;
  if (text === null)
    return (
      <button type="button" onClick={() => edit(said.text)}>
        Edit and run on from here
      </button>
    );
  return (
    <div class="editor">
      <label for="edited">
        What {said.expert} says at step {said.step} instead
      </label>
      <textarea id="edited" rows={8} value={text} onInput={(event) => edit(event.currentTarget.value)} />
      <p class="aside">
        The run goes on from step {said.step} with these words, as a run of its own in this thread.
      </p>
      <div class="buttons">
        <button
          type="button"
          class="main"
          disabled={!text.trim()}
          onClick={() => void fork(said.step, { [said.expert]: text })}
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
