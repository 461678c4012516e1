/**
 * What a driver costs its CPU outside the DMA API: named parameters in nanoseconds, each with its source, and their values after a lab's
 * overrides.
 */
import { LabError } from '../time/labError.ts';
import { nanoseconds, type Picoseconds } from '../time/picoseconds.ts';

export interface DriverCostParameter<Name extends string = string> {
  readonly name: Name;
  readonly value: number;
  readonly unit: 'ns';
  readonly source: string;
  readonly mark: 'measured' | 'derived' | 'assumed';
  readonly help: string;
}

/** Turns parameters into picoseconds. Overrides replace values by name, in ns. */
export function resolveDriverCosts<Name extends string>(
  parameters: readonly DriverCostParameter<Name>[],
  overrides: Readonly<Partial<Record<Name, number>>>,
): Readonly<Record<Name, Picoseconds>> {
  const cost = ({ name, value }: DriverCostParameter<Name>): [Name, Picoseconds] => {
    const chosen = overrides[name] ?? value;
    if (!Number.isFinite(chosen) || chosen < 0) {
      const problem = `${String(chosen)} is no cost.`;
      throw new LabError(`costs.overrides.${name}`, problem, 'Give a number of ns that is 0 or more.');
    }
    return [name, nanoseconds(chosen)];
  };
  return Object.fromEntries(parameters.map(cost)) as Record<Name, Picoseconds>;
}
