// Format numbers. An unknown one is shown as unknown, never as 0.

const WHOLE = new Intl.NumberFormat("en-US");

export const whole = (n: number | null | undefined) => (n == null ? "unknown" : WHOLE.format(n));
export const share = (n: number) => n.toFixed(2);
export const seconds = (n: number) => (n < 10 ? `${n.toFixed(1)} s` : `${Math.round(n)} s`);

export function dollars(n: number | null | undefined): string {
  if (n == null) return "cost unknown";
  if (n === 0) return "$0";
  return n < 0.01 ? `$${n.toFixed(5)}` : `$${n.toFixed(3)}`;
}

export function moment(iso: string): string {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return "";
  const today = date.toDateString() === new Date().toDateString();
  const clock = date.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
  return today ? clock : `${date.toLocaleDateString(undefined, { day: "numeric", month: "short" })} ${clock}`;
}
