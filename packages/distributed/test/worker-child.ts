import { parentPort, workerData } from 'node:worker_threads';
import { joinWorkers } from '../src/index.js';
import { checkGroup } from './group-checks.js';

parentPort!.postMessage(await checkGroup(joinWorkers(workerData)));
