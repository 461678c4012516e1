/** Ends a run at the first misuse, where the checker is told to stop. The call at fault has not been carried out. */
import { LabError } from '../../time/labError.ts';
import type { ApiMisuse } from './misuse.ts';

export class ApiMisuseError extends LabError {
  readonly misuse: ApiMisuse;

  constructor(misuse: ApiMisuse) {
    super(
      `${misuse.driver} ${misuse.device}`,
      `${misuse.message}.`,
      'Set the checker to "report" to go on after a misuse.',
    );
    this.name = 'ApiMisuseError';
    this.misuse = misuse;
  }
}
