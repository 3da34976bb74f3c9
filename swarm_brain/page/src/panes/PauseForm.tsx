// A run that waits for a person: approve, edit, skip or stop.

import { useState } from "preact/hooks";
import { latest, resume } from "../brain/store";
import type { Pause } from "../brain/wire";
import { plain } from "../words/markdown";

export function PauseForm({ pause }: { pause: Pause }) {
  const [sees, edit] = useState<string | null>(null);
  const decide = (action: string, more = {}) => void resume({ action, ...more }, pause.id);
  if (!latest.value) return null;
  return (
    <div class="pause" role="group" aria-label={`Decide about ${pause.expert}`}>
      <p>
        <strong>{pause.expert}</strong> is about to be asked at step {pause.step}, and waits for you. Nothing
        runs meanwhile.
      </p>
      {sees === null ? (
        <details>
          <summary>What it would see</summary>
          <pre tabIndex={0} dir="auto">
            {plain(pause.sees)}
          </pre>
        </details>
      ) : (
        <>
          <label for="sees">What it is shown instead</label>
          <textarea id="sees" rows={8} value={sees} onInput={(event) => edit(event.currentTarget.value)} />
        </>
      )}
      <div class="buttons">
        {sees === null ? (
          <>
            <button type="button" class="main" onClick={() => decide("approve")}>
              Approve
            </button>
            <button type="button" onClick={() => edit(pause.sees)}>
              Edit
            </button>
            <button type="button" onClick={() => decide("skip")}>
              Skip it
            </button>
            <button type="button" onClick={() => decide("stop")}>
              Stop here
            </button>
          </>
        ) : (
          <>
            <button
              type="button"
              class="main"
              disabled={!sees.trim()}
              onClick={() => decide("edit", { sees })}
            >
              Ask with this
            </button>
            <button type="button" onClick={() => edit(null)}>
              Back
            </button>
          </>
        )}
      </div>
    </div>
  );
}
