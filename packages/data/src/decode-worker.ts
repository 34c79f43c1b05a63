// A thread that decodes and resizes pictures for `exampleStream`.
import { parentPort } from 'node:worker_threads';
import { type DecodeRequest, decodeExample } from './decode-example.js';

parentPort?.on('message', async ({ id, request }: { id: number; request: DecodeRequest }) => {
  try {
    const image = await decodeExample(request);
    const data = image.data.slice(); // its own buffer, which may be given away
    parentPort!.postMessage({ id, image: { ...image, data } }, [data.buffer]);
  } catch (error) {
    parentPort!.postMessage({ id, error: error instanceof Error ? error.message : String(error) });
  }
});
parentPort?.postMessage({ ready: true });
