/**
 * An error about what the user gave: where it is (file and line, or a path inside a document), what is wrong, and what to do.
 * Leaves out: errors of the program itself, which are plain `Error`s.
 */
export class LabError extends Error {
  readonly where: string;
  readonly problem: string;
  readonly remedy: string;

  constructor(where: string, problem: string, remedy: string) {
    super(`${where}: ${problem} ${remedy}`);
    this.name = 'LabError';
    this.where = where;
    this.problem = problem;
    this.remedy = remedy;
  }
}
