/**
 * An error that the user can fix: what is wrong, where, why, and the remedy, in one line. It is shown without a stack.
 * Exit code 2: wrong usage or configuration; 1: any other failure.
 */
export class UserError extends Error {
  override readonly name = "UserError";
  readonly exitCode: 1 | 2;

  constructor(message: string, exitCode: 1 | 2 = 1, options?: { cause?: unknown }) {
    super(message, options);
    this.exitCode = exitCode;
  }
}
