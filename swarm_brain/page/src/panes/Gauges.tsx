// What the run has taken so far, of how much.

import { useEffect, useState } from "preact/hooks";
import { began, running, view } from "../brain/store";
import { dollars, seconds, whole } from "../figures";

export function Gauges() {
  const { effort, step, maxSteps, model, spent, limits, result } = view.value;
  const usage = result?.usage;
  const known = usage && usage.input_tokens !== null && usage.output_tokens !== null;
  const tokens = spent?.tokens ?? (known ? (usage.input_tokens ?? 0) + (usage.output_tokens ?? 0) : null);
  const usd = spent?.usd ?? usage?.cost_usd;
  const started = spent !== null || usage !== undefined;
  return (
    <dl class="gauges">
      <div>
        <dt>step</dt>
        <dd>
          {Math.min(step, maxSteps ?? step) || "–"}
          {maxSteps !== null && step > 0 && (
            <small>
              {" "}
              of {maxSteps}
              {step > maxSteps && " + revision"}
            </small>
          )}
        </dd>
      </div>
      <div>
        <dt>effort</dt>
        <dd>{effort ?? "–"}</dd>
      </div>
      <Gauge
        name="tokens"
        value={started ? whole(tokens) : "–"}
        of={limits?.tokens ?? null}
        now={tokens}
        shown={whole(limits?.tokens)}
      />
      <Gauge
        name="cost"
        value={started ? dollars(usd) : "–"}
        of={limits?.usd ?? null}
        now={usd ?? null}
        shown={dollars(limits?.usd)}
      />
      <Clock limit={limits?.seconds ?? null} spent={spent?.seconds ?? null} />
      <div class="model">
        <dt>model</dt>
        <dd>{model ?? "–"}</dd>
      </div>
    </dl>
  );
}

interface GaugeProps {
  name: string;
  value: string;
  now: number | null;
  of: number | null;
  shown: string;
}

function Gauge({ name, value, now, of, shown }: GaugeProps) {
  const full = of !== null && now !== null ? Math.min(1, now / of) : null;
  return (
    <div class={full !== null && full > 0.9 ? "nearly" : ""}>
      <dt>{name}</dt>
      <dd>
        {value}
        {of !== null && <small> of {shown}</small>}
        {full !== null && <meter min={0} max={1} value={full} aria-label={`${name}: ${value} of ${shown}`} />}
      </dd>
    </div>
  );
}

function Clock({ limit, spent }: { limit: number | null; spent: number | null }) {
  const [, tick] = useState(0);
  const [end, stop] = useState<number | null>(null);
  const going = running.value;
  useEffect(() => {
    if (!going) {
      stop(performance.now());
      return;
    }
    stop(null);
    const timer = setInterval(() => tick((n) => n + 1), 200);
    return () => clearInterval(timer);
  }, [going]);
  const elapsed = began.value === null ? spent : ((end ?? performance.now()) - began.value) / 1000;
  const shown = elapsed === null ? "–" : seconds(Math.max(0, elapsed));
  return (
    <Gauge name="time" value={shown} now={elapsed} of={limit} shown={limit === null ? "" : seconds(limit)} />
  );
}
