import { cpus, release, totalmem, type } from 'node:os';

/** Processor, cores and memory, operating system, Node. */
export function machineText(): string {
  const [processor] = cpus();
  const memory = `${Math.round(totalmem() / 2 ** 30)} GB`;
  return `${processor?.model.trim() ?? 'unknown processor'}, ${cpus().length} cores, ${memory}, ${type()} ${release()}, Node ${process.version}`;
}
