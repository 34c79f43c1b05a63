/** What making pictures is doing, in the words that a user sees. */
export type Stage = 'Loading' | 'Encoding' | 'Sampling' | 'Decoding';

/** How far a stage is: tensors loaded, prompts encoded, steps taken, pictures decoded. */
export interface StageReport {
  readonly stage: Stage;
  readonly done: number;
  readonly total: number;
}

/** Says how far a stage is. Throws the signal's reason when the run was asked to stop. */
export type Tell = (stage: Stage, done: number, total: number) => void;

/** Says nothing and never stops. */
export const silent: Tell = () => {};
