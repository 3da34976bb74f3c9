// The form of the settings, from their JSON schema. Pure.

export type Kind = "text" | "number" | "whole" | "choice" | "switch" | "list" | "table";

export interface Field {
  name: string;
  kind: Kind;
  description: string;
  fallback: unknown;
  optional: boolean;
  choices: string[];
  least: number | null;
  most: number | null;
  above: boolean; // `least` itself is not allowed
}

interface Node {
  type?: string;
  enum?: unknown[];
  const?: unknown;
  anyOf?: Node[];
  description?: string;
  default?: unknown;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
}

/** The fields of an object's schema, in its order. */
export function fields(schema: Record<string, unknown> | null): Field[] {
  const properties = (schema?.["properties"] ?? {}) as Record<string, Node>;
  return Object.entries(properties).map(([name, node]) => field(name, node));
}

function field(name: string, node: Node): Field {
  const options = node.anyOf ?? [node];
  const real = options.find((option) => option.type !== "null") ?? node;
  return {
    name,
    kind: kindOf(real),
    description: node.description ?? "",
    fallback: node.default ?? null,
    optional: options.some((option) => option.type === "null"),
    choices: (real.enum ?? (real.const === undefined ? [] : [real.const])).map(String),
    least: real.minimum ?? real.exclusiveMinimum ?? null,
    most: real.maximum ?? null,
    above: real.exclusiveMinimum !== undefined,
  };
}

function kindOf(node: Node): Kind {
  if (node.enum || node.const !== undefined) return "choice";
  if (node.type === "boolean") return "switch";
  if (node.type === "integer") return "whole";
  if (node.type === "number") return "number";
  if (node.type === "array") return "list";
  return node.type === "object" ? "table" : "text";
}

export type Read = { value: unknown } | { wrong: string };

/** What was typed, as the setting's value; `undefined` means the default. */
export function readField(field: Field, typed: string): Read {
  const text = typed.trim();
  if (text === "") return { value: undefined };
  if (field.kind === "switch") return { value: text === "true" };
  if (field.kind === "list") return { value: text.split(/[\s,]+/) };
  if (field.kind === "table") return table(text);
  if (field.kind === "number" || field.kind === "whole") return numeric(field, text);
  return { value: text };
}

function numeric(field: Field, text: string): Read {
  const value = Number(text);
  if (!Number.isFinite(value)) return { wrong: "Not a number." };
  if (field.kind === "whole" && !Number.isInteger(value)) return { wrong: "A whole number, please." };
  const low = field.least !== null && (field.above ? value <= field.least : value < field.least);
  if (low || (field.most !== null && value > field.most)) return { wrong: `${bounds(field)}.` };
  return { value };
}

function table(text: string): Read {
  const lines = text.split("\n").filter((line) => line.trim());
  const pairs = lines.map((line) => line.split("=").map((part) => part.trim()));
  const wrong = pairs.findIndex((pair) => pair.length !== 2 || !pair[0] || !pair[1]);
  if (wrong >= 0) return { wrong: `Line ${wrong + 1} is not NAME = VALUE.` };
  return { value: Object.fromEntries(pairs as [string, string][]) };
}

/** The bounds in words, or nothing. */
export function bounds(field: Field): string {
  const { least, most, above } = field;
  if (least === null && most === null) return "";
  if (most === null) return above ? `Above ${least}` : `At least ${least}`;
  if (least === null) return `At most ${most}`;
  return above ? `Above ${least}, at most ${most}` : `${least} to ${most}`;
}

/** A value as it is shown in its field. */
export function shownValue(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (Array.isArray(value)) return value.join(", ");
  if (typeof value === "object")
    return Object.entries(value)
      .map(([key, item]) => `${key} = ${item}`)
      .join("\n");
  return String(value);
}
