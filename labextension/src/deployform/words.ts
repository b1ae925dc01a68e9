/** What the form of a deployment says. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { DeployDraft, DeployFault } from './draft';
import type { How } from './line';

export function faultText(fault: DeployFault | undefined, trans: TranslationBundle): string {
  switch (fault) {
    case undefined:
      return '';
    case 'missing':
      return trans.__('This has to be given.');
    case 'not a name':
      return trans.__('Small letters, digits and dashes, at most 63: it stands in a URL.');
    case 'not a number':
      return trans.__('This is no such number.');
    case 'not a share':
      return trans.__('This is no percentage: a number from 0 to 100.');
    case 'not a percentage':
      return trans.__('A percentage, or several: 5, or 5,25,50.');
    case 'not a header':
      return trans.__('NAME=VALUE, such as X-Version=new.');
    case 'not an origin':
      return trans.__('Origins as https://HOST or https://HOST:PORT, or * for all.');
    case 'no URI':
      return trans.__('models:/…, runs:/…, or the path of a folder.');
    case 'fewer':
      return trans.__('Not fewer than at least.');
  }
}

export function howText(how: How, trans: TranslationBundle): string {
  const words: Record<How, string> = {
    rolling: trans.__('replica by replica'),
    canary: trans.__('canary: a part first'),
    'blue-green': trans.__('all at once'),
    header: trans.__('requests with a header'),
    shadow: trans.__('shadow: copies only')
  };
  return words[how];
}

export function howHelp(how: string, trans: TranslationBundle): string {
  const words: Record<How, string> = {
    rolling: trans.__('A replica’s part of the requests at a time.'),
    canary: trans.__('Step by step, each for so long and 50 requests, as long as the gates hold.'),
    'blue-green': trans.__('When its replicas answer; the version before is kept for ten minutes.'),
    header: trans.__('Until somebody promotes it or rolls it back.'),
    shadow: trans.__('Its answers are compared, and nobody gets them.')
  };
  return words[how as How];
}

/** How far it is; empty while the form is filled in. */
export function stageText(
  { stage, said }: Pick<DeployDraft, 'stage' | 'said'>,
  trans: TranslationBundle
): string {
  const last = said.at(-1) ?? '';
  switch (stage) {
    case 'filling':
      return '';
    case 'waiting':
      return trans.__('Waiting for the kernel…');
    case 'packaging':
      return last || trans.__('Packaging…');
    case 'replaying':
      return trans.__('Packaged. It is loaded in a fresh process, and held against its calls…');
    case 'keying':
      return trans.__('Deployed. Making the key…');
  }
}
