import { Contestant } from './contestant.js';
import type { Entrant } from './measure.js';
import { threadLimits } from './page.js';

/** A contestant that is not here, and why. */
export interface Absent {
  readonly contestant: string;
  readonly reason: string;
}

/** Starts contestants one after the other and ends them all. */
export class Contestants {
  readonly entrants: Entrant[] = [];
  readonly absent: Absent[] = [];

  /** Starts one; where it does not start, `absent` says why, once. */
  async enter(name: string, program: string, args: readonly string[]): Promise<void> {
    if (this.absent.some(({ contestant }) => contestant === name)) return;
    const started = await Contestant.start(program, args, threadLimits);
    if (typeof started === 'string') this.absent.push({ contestant: name, reason: started });
    else this.entrants.push(started);
  }

  stop(): void {
    for (const { contestant } of this.entrants) contestant.stop();
  }
}
