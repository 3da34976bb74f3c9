// The answer, and how far to trust it.

import { at, geometry, latest, question, resume, unfinished, view } from "../brain/store";
import type { View } from "../brain/view";
import type { Result } from "../brain/wire";
import { dollars, share, whole } from "../figures";
import { plain } from "../words/markdown";
import { Stream, Words } from "../words/Words";
import { PauseForm } from "./PauseForm";

export function Answer() {
  const shown = view.value;
  return (
    <section class="answer" aria-labelledby="answer-head">
      <h2 id="answer-head">Answer</h2>
      {question.value && (
        <p class="question" dir="auto">
          {plain(question.value)}
        </p>
      )}
      {shown.paused.map((pause) => (
        <PauseForm key={`${pause.expert}-${pause.step}`} pause={pause} />
      ))}
      {shown.phase === "failed" && (
        <p class="wrong" role="alert">
          {shown.error ?? "The run has failed."}
        </p>
      )}
      {(shown.phase === "cut" || (shown.phase === "failed" && unfinished.value)) && latest.value && (
        <Unfinished />
      )}
      {shown.result ? <Given result={shown.result} /> : <Draft shown={shown} />}
    </section>
  );
}

function Unfinished() {
  return (
    <div class="unfinished">
      <p>This run is unfinished. Its finished calls are saved and are not paid for again.</p>
      <button type="button" class="main" onClick={() => void resume(null)}>
        Resume
      </button>
    </div>
  );
}

/** Before there is an answer: the words of whoever writes it. */
function Draft({ shown }: { shown: View }) {
  const writer = geometry.value?.nodes.find((box) => box.kind === "synthesis")?.name;
  const draft = shown.sayings.findLast((s) => s.expert === writer);
  if (draft?.text) return <Stream text={draft.text} live={draft.status === "running"} />;
  if (shown.phase === "running")
    return (
      <p class="aside">{at.value === null ? "The experts are at work." : "No answer yet at this step."}</p>
    );
  if (shown.phase === "idle" && !question.value)
    return (
      <p class="intro">
        The experts above answer one question together. Each lights up when a signal reaches it, writes, and
        wakes others. Choose one to read its words as they come.
      </p>
    );
  return null;
}

const MEANING = {
  full: "Every expert that was woken answered, and no limit was hit.",
  degraded: "A model wrote this, but an expert failed or a limit cut the run short.",
  simulated: "No model wrote this. It is a placeholder and says nothing about the question.",
};

function Given({ result }: { result: Result }) {
  const { provenance, agreement, dissent, usage, notes } = result;
  return (
    <div class={`result ${provenance}`} data-provenance={provenance}>
      <div class="provenance">
        <strong>{provenance}</strong>
        <span>{MEANING[provenance]}</span>
        {result.stop_reason !== "complete" && <span> Ended by: {result.stop_reason}.</span>}
      </div>
      <Words text={result.final_output} />
      {result.error && <p class="wrong">{plain(result.error)}</p>}
      <dl class="facts">
        {result.verdict && (
          <div class="wide">
            <dt>verdict</dt>
            <dd dir="auto">{plain(result.verdict)}</dd>
          </div>
        )}
        <div>
          <dt>agreement of the drafts</dt>
          <dd>
            {agreement === null ? "fewer than two drafts" : share(agreement)}
            {agreement !== null && (
              <meter min={0} max={1} value={agreement} aria-label={`agreement ${share(agreement)}`} />
            )}
          </dd>
        </div>
        <div>
          <dt>calls</dt>
          <dd>{whole(usage.calls)}</dd>
        </div>
        <div>
          <dt>tokens in, out</dt>
          <dd>
            {whole(usage.input_tokens)}, {whole(usage.output_tokens)}
          </dd>
        </div>
        <div>
          <dt>cost</dt>
          <dd>{dollars(usage.cost_usd)}</dd>
        </div>
        {result.revised && (
          <div>
            <dt>revised</dt>
            <dd>once, for a quoted defect</dd>
          </div>
        )}
      </dl>
      {dissent.length > 0 && (
        <div class="dissent">
          <h3>Not adopted</h3>
          {dissent.map((words) => (
            <blockquote dir="auto">{plain(words)}</blockquote>
          ))}
        </div>
      )}
      {notes.map((note) => (
        <p class="aside">{plain(note)}</p>
      ))}
    </div>
  );
}
