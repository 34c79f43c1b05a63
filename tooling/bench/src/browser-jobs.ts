import { serveJobs } from '@mezzotint/backend/worker';
import type { Request } from '@mezzotint/pipelines';
import { openPipeline } from '@mezzotint/pipelines/node';

let opened: ReturnType<typeof openPipeline> | undefined;

/** What the thread of an engine does for `bench:browser`. */
export const jobs = {
  /** Makes one picture with a model that stays open, and gives its bytes. */
  async picture({ model, request }: { readonly model: string; readonly request: Request }): Promise<Uint8Array> {
    opened ??= openPipeline(model);
    const { images } = await (await opened).generate(request);
    return images[0]!.data;
  },
};

await serveJobs(jobs);
