/**
 * The idle signal: html[data-idle] is 'true' when no request, layout or paint is under way. Tests wait for it instead of for
 * a time. Two animation frames must pass without work, so that what a finished request caused has been painted too.
 */
let pending = 0;
let epoch = 0;

function show(idle: boolean): void {
  document.documentElement.dataset['idle'] = String(idle);
}

function settle(): void {
  const mine = epoch;
  requestAnimationFrame(() =>
    requestAnimationFrame(() => {
      if (pending === 0 && epoch === mine) show(true);
    }),
  );
}

/** Begins a piece of work; the function it returns ends it, once. */
export function beginWork(): () => void {
  pending += 1;
  epoch += 1;
  show(false);
  let ended = false;
  return () => {
    if (ended) return;
    ended = true;
    pending -= 1;
    if (pending === 0) settle();
  };
}

/** Counts a promise as work until it settles. */
export async function whileBusy<Value>(work: Promise<Value>): Promise<Value> {
  const end = beginWork();
  try {
    return await work;
  } finally {
    end();
  }
}
