/** What the form of a deployment says. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { DeployDraft } from './draft';
import type { DeployFault } from './faults';
import type { Form, How } from './line';

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
    case 'not a header name':
      return trans.__('Letters, digits and dashes, such as X-User.');
    case 'itself':
      return trans.__('Another than the one that it runs on.');
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

export function formText(form: Form, trans: TranslationBundle): string {
  const words: Record<Form, string> = {
    source: trans.__('as it is'),
    bf16: trans.__('bf16: half the memory'),
    export: trans.__('export: without its classes'),
    onnx: trans.__('onnx: without torch'),
    int8: trans.__('int8: small, for processors')
  };
  return words[form];
}

/** What a form is for, and by how much its answers may be off. */
export function formHelp(form: string, trans: TranslationBundle): string {
  const words: Record<Form, string> = {
    source: trans.__('Its classes and its tensors; the node needs torch.'),
    bf16: trans.__('Weights and products in bfloat16, fast on GPUs; off by at most 2%.'),
    export: trans.__('A program of torch.export; its classes stay at home.'),
    onnx: trans.__('A graph that onnxruntime runs; the extra “onnx” makes it.'),
    int8: trans.__('A graph with weights of eight bits; off by at most 10%.')
  };
  return words[form as Form];
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
