// How to read the picture.

import type { ComponentChildren } from "preact";
import { Glyph } from "./Glyph";
import type { Light } from "./lit";

const SHAPES: [Light, string][] = [
  ["running", "writing"],
  ["ok", "answered"],
  ["gated", "gated off"],
  ["failed", "failed"],
  ["simulated", "simulated: no model wrote it"],
];

export function Legend() {
  return (
    <ul class="legend" aria-label="How to read the picture">
      <Sample words="woke its target; as thick as its activation">
        <g class="edge wakes fired">
          <path d="M0,8 H30" class="thick" />
        </g>
      </Sample>
      <Sample words="too weak to wake it">
        <g class="edge wakes below">
          <path d="M0,8 H30" />
        </g>
      </Sample>
      <Sample words="is heard, but wakes no expert">
        <g class="edge hears fired">
          <path d="M0,8 H30" />
        </g>
      </Sample>
      <Sample words="salience">
        <g class="expert">
          <g class="salience">
            <rect class="track" y="6" width="30" height="4" />
            <rect class="fill" y="6" width="21" height="4" />
          </g>
        </g>
      </Sample>
      {SHAPES.map(([light, words]) => (
        <li key={light}>
          <svg class="still" width="13" height="13" viewBox="-6.5 -6.5 13 13" aria-hidden="true">
            <Glyph light={light} x={0} y={0} />
          </svg>
          {words}
        </li>
      ))}
    </ul>
  );
}

function Sample({ words, children }: { words: string; children: ComponentChildren }) {
  return (
    <li>
      <svg width="30" height="16" aria-hidden="true">
        {children}
      </svg>
      {words}
    </li>
  );
}
