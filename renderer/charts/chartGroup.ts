/** The charts that are linked: one crosshair and one range of time. Each chart on the stage enters itself here. */
export const CHART_GROUP = 'run-charts';

interface LinkedChart {
  dispatchAction(action: { readonly type: string; readonly [key: string]: unknown }): void;
}

const members = new Set<LinkedChart>();

export function joinCharts(chart: LinkedChart): () => void {
  members.add(chart);
  return () => members.delete(chart);
}

/** Shows the whole run again. A connected group passes the action on, so one member is enough. */
export function resetChartZoom(): void {
  const [first] = members;
  first?.dispatchAction({ type: 'dataZoom', start: 0, end: 100 });
}
