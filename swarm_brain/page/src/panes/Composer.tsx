// The question, and how it is to be answered.

import { signal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { ask, clear, presets, running, stop, thread } from "../brain/store";
import { changes, Settings } from "./Settings";

const typed = signal("");
const preset = signal("");
const open = signal(false);

export function Composer() {
  const field = useRef<HTMLTextAreaElement>(null);
  const send = () => {
    const question = typed.value.trim();
    if (!question || running.value) return;
    typed.value = "";
    const settings = changes.value;
    const asked = ask({
      question,
      ...(preset.value && { preset: preset.value }),
      ...(Object.keys(settings).length > 0 && { settings }),
    });
    void asked.then((started) => started || (typed.value ||= question));
  };
  const on = thread.value !== null;
  const changed = Object.keys(changes.value).length;
  return (
    <form class="composer" onSubmit={(event) => (event.preventDefault(), send())}>
      <label for="question">{on ? "Ask in this thread" : "Ask a question"}</label>
      <div class="asking">
        <textarea
          id="question"
          ref={field}
          rows={1}
          value={typed.value}
          placeholder={on ? "A follow-up question" : "Why is there something rather than nothing?"}
          onInput={(event) => (typed.value = event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
            event.preventDefault();
            send();
          }}
        />
        {running.value ? (
          <button type="button" class="main stop" onClick={() => void stop()}>
            Cancel
          </button>
        ) : (
          <button type="submit" class="main" disabled={!typed.value.trim()}>
            Ask
          </button>
        )}
      </div>
      <div class="choices">
        <label>
          Preset{" "}
          <select value={preset.value} onChange={(event) => (preset.value = event.currentTarget.value)}>
            <option value="">default</option>
            {presets.value.map(({ name }) => (
              <option value={name}>{name}</option>
            ))}
          </select>
        </label>
        <span class="aside preset">
          {presets.value.find(({ name }) => name === preset.value)?.description}
        </span>
        <span class="apart" />
        {on && (
          <button type="button" class="quiet" onClick={() => (clear(), field.current?.focus())}>
            New thread
          </button>
        )}
        <button
          type="button"
          class="quiet"
          aria-expanded={open.value}
          aria-controls="settings"
          onClick={() => (open.value = !open.value)}
        >
          Settings{changed > 0 && ` (${changed} changed)`}
        </button>
      </div>
      {open.value && <Settings />}
    </form>
  );
}
