// A small part of Markdown, as data. What is not known here stays the text it is: no HTML, no links,
// no pictures, because a model wrote it. Pure.

export type Inline = { kind: "text" | "strong" | "em" | "code"; text: string };
export type Block =
  | { kind: "p" | "h" | "quote"; inline: Inline[] }
  | { kind: "ul" | "ol"; items: Inline[][]; start: number }
  | { kind: "pre"; text: string };

const SPAN = /`([^`\n]+)`|\*\*([^*\n]+)\*\*|\*([^*\s][^*\n]*)\*/g;
const ITEM = /^\s{0,3}(?:[-*+]|(\d{1,9})[.)])\s+(.*)$/;

/** Text as blocks. */
export function blocks(text: string): Block[] {
  const result: Block[] = [];
  let paragraph: string[] = [];
  const close = () => {
    if (paragraph.length) result.push({ kind: "p", inline: inline(paragraph.join("\n")) });
    paragraph = [];
  };
  const lines = text.replace(/\r\n?/g, "\n").split("\n");
  for (let n = 0; n < lines.length; n++) {
    const line = lines[n] as string;
    if (line.startsWith("```")) {
      close();
      let last = n + 1;
      while (last < lines.length && !lines[last]?.startsWith("```")) last++;
      result.push({ kind: "pre", text: lines.slice(n + 1, last).join("\n") });
      n = last;
    } else if (line.trim() === "") close();
    else if (/^#{1,6}\s/.test(line)) {
      close();
      result.push({ kind: "h", inline: inline(line.replace(/^#+\s+/, "")) });
    } else if (line.startsWith("> ")) {
      close();
      result.push({ kind: "quote", inline: inline(line.slice(2)) });
    } else if (ITEM.test(line)) {
      close();
      item(result, line);
    } else paragraph.push(line);
  }
  close();
  return result;
}

function item(result: Block[], line: string): void {
  const [, number, text = ""] = ITEM.exec(line) ?? [];
  const kind = number === undefined ? "ul" : "ol";
  const last = result.at(-1);
  if (last && (last.kind === "ul" || last.kind === "ol") && last.kind === kind) last.items.push(inline(text));
  else result.push({ kind, items: [inline(text)], start: Number(number ?? 1) });
}

/** One block's text, with what is emphasised. */
export function inline(text: string): Inline[] {
  const result: Inline[] = [];
  let from = 0;
  for (const match of text.matchAll(SPAN)) {
    if (match.index > from) result.push({ kind: "text", text: text.slice(from, match.index) });
    const kind = match[1] !== undefined ? "code" : match[2] !== undefined ? "strong" : "em";
    result.push({ kind, text: match[1] ?? match[2] ?? match[3] ?? "" });
    from = match.index + match[0].length;
  }
  if (from < text.length) result.push({ kind: "text", text: text.slice(from) });
  return result;
}

/** Text without what could reorder or hide it: such characters are shown by their numbers. */
export function plain(text: string): string {
  return text.replace(
    /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f\u200b\u2060\u202a-\u202e\u2066-\u2069\ufeff]/g,
    (c) => `\u27e8U+${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}\u27e9`,
  );
}
