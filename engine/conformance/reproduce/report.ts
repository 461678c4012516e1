/**
 * A published measurement rerun: what the model gave beside what was measured, the error of each point, and the lines in which the
 * command line prints them: one a point (series, x, model, reference, error), one a series (`SERIES: worst X %, mean Y %`), and
 * last `NAME: worst error X %, mean error Y %` over all series that count.
 *
 * Error is |model - reference| / reference. A reference of 0 asks for less than 0.01, a bound (`>220000`) for its right side: such a
 * point counts as 0 % or 100 %. A condition that does not hold where it counts fails the reproduction, however small the mean.
 */
export interface ReproducedPoint {
  readonly x: string;
  readonly model: number;
  /** A number, or a bound: `>220000`, `<1`. */
  readonly reference: number | string;
}

export interface ReproducedSeries {
  readonly name: string;
  readonly unit: string;
  readonly xName: string;
  /** False: reported, and left out of the last line. */
  readonly counted: boolean;
  readonly points: readonly ReproducedPoint[];
}

export interface PointError extends ReproducedPoint {
  /** 0.03 is 3 %. */
  readonly error: number;
}

export interface JudgedSeries {
  readonly name: string;
  readonly unit: string;
  readonly xName: string;
  readonly counted: boolean;
  readonly points: readonly PointError[];
  readonly worst: number;
  readonly mean: number;
}

export interface Reproduction {
  readonly name: string;
  readonly series: readonly JudgedSeries[];
  /** Over the points of all series that count; 0 where there is none. */
  readonly worst: number;
  readonly mean: number;
  readonly points: number;
  /** Points that count and lie on the wrong side of their bound, or ask for nothing and got something. */
  readonly brokenConditions: number;
}

/** What a reference of zero is checked against. */
const NOTHING = 0.01;
const BOUND = /^([<>])\s*(\d+(?:\.\d+)?(?:e[+-]?\d+)?)$/i;

/** Whether a text is a bound that `pointError` can check. */
export function isBound(text: string): boolean {
  const bound = BOUND.exec(text);
  return bound !== null && Number.isFinite(Number(bound[2]));
}

export function pointError({ model, reference }: ReproducedPoint): number {
  if (!Number.isFinite(model)) return 1;
  if (typeof reference === 'number') {
    if (reference === 0) return Math.abs(model) < NOTHING ? 0 : 1;
    return Math.abs(model - reference) / Math.abs(reference);
  }
  const bound = BOUND.exec(reference);
  if (bound === null) throw new Error(`"${reference}" is no bound`);
  const limit = Number(bound[2]);
  return (bound[1] === '>' ? model > limit : model < limit) ? 0 : 1;
}

export function judgeSeries(series: ReproducedSeries): JudgedSeries {
  const points = series.points.map((point) => ({ ...point, error: pointError(point) }));
  return { ...series, points, ...errorsOf(points) };
}

export function reproduction(name: string, series: readonly JudgedSeries[]): Reproduction {
  const counted = series.filter((one) => one.counted).flatMap((one) => one.points);
  const broken = counted.filter(({ reference, error }) => isCondition(reference) && error > 0);
  return { name, series, ...errorsOf(counted), points: counted.length, brokenConditions: broken.length };
}

function isCondition(reference: number | string): boolean {
  return reference === 0 || typeof reference === 'string';
}

function errorsOf(points: readonly PointError[]): { worst: number; mean: number } {
  const errors = points.map((point) => point.error);
  const sum = errors.reduce((total, error) => total + error, 0);
  return { worst: Math.max(0, ...errors), mean: errors.length === 0 ? 0 : sum / errors.length };
}

export function seriesLines(series: JudgedSeries): string[] {
  const points = series.points.map(
    ({ x, model, reference, error }) =>
      `${series.name}  ${series.xName} ${x}  model ${figure(model)}  reference ${figure(reference)} ${series.unit}  error ${percent(error)}`,
  );
  const left = series.counted ? '' : ' (not counted)';
  return [...points, `${series.name}: worst ${percent(series.worst)}, mean ${percent(series.mean)}${left}`];
}

/** Said before the closing line; null where every condition holds. */
export function conditionsLine({ name, brokenConditions }: Reproduction): string | null {
  if (brokenConditions === 0) return null;
  return `${name}: ${String(brokenConditions)} ${brokenConditions === 1 ? 'condition does' : 'conditions do'} not hold`;
}

export function closingLine({ name, worst, mean }: Reproduction): string {
  return `${name}: worst error ${percent(worst)}, mean error ${percent(mean)}`;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

/** Four digits, which is more than any of the measurements bears. */
function figure(value: number | string): string {
  if (typeof value === 'string') return value;
  if (value === 0 || !Number.isFinite(value)) return String(value);
  const magnitude = Math.floor(Math.log10(Math.abs(value)));
  return value.toFixed(Math.min(6, Math.max(0, 3 - magnitude)));
}
