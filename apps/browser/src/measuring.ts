// What tests and measurements of the page need.
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

export { bundlePage } from './bundle.js';
export { listen, siteServer } from './serve.js';

/** A browser that is installed: the environment variable CHROMIUM, or one of the usual names on the path. */
export function installedChromium(): string | undefined {
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome'];
  const places = (process.env.PATH ?? '').split(delimiter).flatMap((folder) => names.map((name) => join(folder, name)));
  return [process.env.CHROMIUM ?? '', ...places].find((file) => {
    try {
      accessSync(file, constants.X_OK);
      return file !== '';
    } catch {
      return false;
    }
  });
}
