// The settings of a run as a form, made from the server's own description of them.

import { computed, signal } from "@preact/signals";
import { bounds, fields, readField, shownValue, type Field } from "../brain/schema";
import { schema } from "../brain/store";
import { inline } from "../words/markdown";

const typed = signal<Record<string, string>>({});
const all = computed(() => fields(schema.value));

/** What differs from the defaults and can be read. */
export const changes = computed(() => {
  const known = all.value.flatMap((field) => {
    const read = readField(field, typed.value[field.name] ?? "");
    return "value" in read && read.value !== undefined ? [[field.name, read.value]] : [];
  });
  return Object.fromEntries(known) as Record<string, unknown>;
});

export function Settings() {
  return (
    <div id="settings" class="settings" role="group" aria-label="Settings of the next question">
      <p class="aside">
        They hold for the next question and override the preset. Empty means the default.{" "}
        <button type="button" class="quiet" onClick={() => (typed.value = {})}>
          Reset all
        </button>
      </p>
      <div class="fields">
        {all.value.map((field) => (
          <Row key={field.name} field={field} />
        ))}
      </div>
    </div>
  );
}

function Row({ field }: { field: Field }) {
  const text = typed.value[field.name] ?? "";
  const read = readField(field, text);
  const wrong = "wrong" in read ? read.wrong : "";
  const id = `setting-${field.name}`;
  return (
    <div class={`setting${text ? " changed" : ""}`}>
      <label for={id}>{field.name}</label>
      <Input id={id} field={field} text={text} wrong={wrong !== ""} />
      <p id={`${id}-help`} class="aside">
        {inline(field.description).map(({ kind, text }) => (kind === "code" ? <code>{text}</code> : text))}{" "}
        {bounds(field) && <span class="bounds">{bounds(field)}.</span>}
      </p>
      {wrong && (
        <p class="wrong" role="alert">
          {wrong} It is not sent.
        </p>
      )}
    </div>
  );
}

interface InputProps {
  id: string;
  field: Field;
  text: string;
  wrong: boolean;
}

function Input({ id, field, text, wrong }: InputProps) {
  const set = (value: string) => (typed.value = { ...typed.value, [field.name]: value });
  const common = { id, "aria-describedby": `${id}-help`, "aria-invalid": wrong };
  const fallback = shownValue(field.fallback) || "none";
  if (field.kind === "choice" || field.kind === "switch") {
    const choices = field.kind === "switch" ? ["true", "false"] : field.choices;
    return (
      <select {...common} value={text} onChange={(event) => set(event.currentTarget.value)}>
        <option value="">default ({fallback})</option>
        {choices.map((choice) => (
          <option value={choice}>{choice}</option>
        ))}
      </select>
    );
  }
  if (field.kind === "table")
    return (
      <textarea
        {...common}
        rows={2}
        value={text}
        placeholder="name = value"
        onInput={(event) => set(event.currentTarget.value)}
      />
    );
  const numeric = field.kind === "number" || field.kind === "whole";
  return (
    <input
      {...common}
      type="text"
      inputMode={numeric ? "decimal" : "text"}
      autocomplete="off"
      value={text}
      placeholder={fallback}
      onInput={(event) => set(event.currentTarget.value)}
    />
  );
}
