// What all experts share: the workspace, and what was remembered.

import { selected, view } from "../brain/store";
import { moment, share } from "../figures";
import { plain } from "../words/markdown";

const LONGEST = 320; // letters of a memory

export function Workspace() {
  const { broadcasts } = view.value;
  return (
    <section class="workspace" aria-labelledby="workspace-head">
      <h2 id="workspace-head">Workspace</h2>
      <p class="aside">The most salient signals of each step, which every later expert reads.</p>
      {broadcasts.length === 0 && <p class="aside">Nothing has been broadcast.</p>}
      {broadcasts.map(({ step, entered }) => (
        <div class="broadcast">
          <h3>step {step}</h3>
          <ol>
            {entered.map(({ source, salience }) => (
              <li>
                <button type="button" class="quiet" onClick={() => (selected.value = source)}>
                  {source}
                </button>
                <meter min={0} max={1} value={salience} aria-label={`salience ${share(salience)}`} />
                <span class="figure">{share(salience)}</span>
              </li>
            ))}
          </ol>
        </div>
      ))}
    </section>
  );
}

export function Recalled() {
  const recalled = view.value.recalled;
  return (
    <section class="recalled" aria-labelledby="recalled-head">
      <h2 id="recalled-head">Memory</h2>
      <p class="aside">The memories recalled for this question, by similarity to it.</p>
      {recalled.length === 0 && <p class="aside">Nothing was recalled.</p>}
      <ul>
        {recalled.map(({ id, kind, text, origin, date, score }) => (
          <li key={id}>
            <span class="figure">{share(score)}</span>
            <div>
              <p dir="auto">{plain(text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text)}</p>
              <p class="aside">
                {kind}, from {plain(origin)}
                {moment(date) && `, ${moment(date)}`}
              </p>
            </div>
          </li>
        ))}
      </ul>
    </section>
  );
}
