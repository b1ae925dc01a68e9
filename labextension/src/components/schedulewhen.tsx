/** When a schedule runs: what makes it, its zone, and the next ten times. */

import type { TranslationBundle } from '@jupyterlab/translation';
import { addIcon, closeIcon } from '@jupyterlab/ui-components';
import React from 'react';

import type { SlotItem } from '../api/types';
import { cronText } from '../models/cronwords';
import { triggersText } from '../models/runwords';
import type { WhenKind } from '../models/scheduletexts';
import { allZones } from '../models/zonetime';
import { durationText } from '../widgets/format';
import { MomentInput } from './formfields';
import { IconButton } from './panel/iconbutton';
import { ChoiceField, Field, LinesField, TextField, type IScheduleFields } from './schedulefield';

const ZONES = allZones().map(value => ({ value, label: value }));

export function WhenFields({ draft, trans }: IScheduleFields): React.JSX.Element {
  const kind = draft.text('when') as WhenKind;
  const isByZone = kind === 'cron' || kind === 'at' || kind === 'mixed';
  return (
    <fieldset className="aiinfra-ScheduleForm-group">
      <legend>{trans.__('When')}</legend>
      <ChoiceField
        {...{ draft, trans, name: 'when', label: trans.__('It runs') }}
        choices={whenChoices(kind, trans)}
      />
      <Kind {...{ draft, trans, kind }} />
      {isByZone && (
        <TextField
          {...{ draft, trans, name: 'zone', label: trans.__('Time zone') }}
          required
          choices={ZONES}
        />
      )}
      <Preview {...{ draft, trans }} />
    </fieldset>
  );
}

function whenChoices(kind: WhenKind, trans: TranslationBundle): { value: string; label: string }[] {
  const choices: { value: WhenKind; label: string }[] = [
    { value: 'cron', label: trans.__('by the calendar') },
    { value: 'every', label: trans.__('at intervals') },
    { value: 'at', label: trans.__('at certain times') },
    { value: 'after', label: trans.__('after another schedule') },
    { value: 'file', label: trans.__('when a file changes') },
    { value: 'none', label: trans.__('only when asked to') }
  ];
  return kind === 'mixed'
    ? [{ value: 'mixed', label: trans.__('as it did: in several ways') }, ...choices]
    : choices;
}

function Kind({ draft, trans, kind }: IScheduleFields & { kind: WhenKind }): React.JSX.Element {
  switch (kind) {
    case 'cron':
      return <CronFields {...{ draft, trans }} />;
    case 'every':
      return (
        <TextField
          {...{ draft, trans, name: 'every', label: trans.__('Every') }}
          help={trans.__('Such as 30s, 15m, 1h30m or 1d, counted from when it is made.')}
          required
        />
      );
    case 'at':
      return <Times {...{ draft, trans }} />;
    case 'after':
      return <AfterFields {...{ draft, trans }} />;
    case 'file':
      return (
        <TextField
          {...{ draft, trans, name: 'path', label: trans.__('File or URL') }}
          help={trans.__('A path of the server’s machine, or a URL. It is looked at every 30 s.')}
          required
        />
      );
    case 'mixed': {
      const { version } = draft.old!;
      const nameOf = (id: string): string => draft.others.find(each => each.id === id)?.name ?? id;
      return <p className="aiinfra-Form-help">{triggersText(version.triggers, nameOf, trans)}</p>;
    }
    case 'none':
      return (
        <p className="aiinfra-Form-help">
          {trans.__('It has no time of its own: run it from the panel, or by another schedule.')}
        </p>
      );
  }
}

function CronFields({ draft, trans }: IScheduleFields): React.JSX.Element {
  const text = draft.text('cron');
  const lines = text.split('\n').filter(line => line.trim() !== '');
  const presets: [string, string][] = [
    ['0 * * * *', trans.__('hourly')],
    ['0 2 * * *', trans.__('daily')],
    ['0 8 * * MON-FRI', trans.__('weekdays')],
    ['0 6 * * MON', trans.__('weekly')],
    ['0 6 1 * *', trans.__('monthly')]
  ];
  return (
    <>
      <div
        className="aiinfra-ScheduleForm-presets"
        role="group"
        aria-label={trans.__('Often used')}
      >
        {presets.map(([line, label]) => (
          <button
            key={line}
            type="button"
            className="jp-mod-styled aiinfra-TextButton"
            aria-pressed={text.trim() === line}
            onClick={() => draft.set('cron', line)}
          >
            {label}
          </button>
        ))}
      </div>
      <LinesField
        {...{ draft, trans, name: 'cron', label: trans.__('Cron lines') }}
        rows={Math.min(Math.max(lines.length, 2), 6)}
        help={trans.__(
          'Minute, hour, day, month, weekday; a sixth field before them is the seconds. Several lines are several times.'
        )}
      />
      {lines.length > 0 && (
        <ul className="aiinfra-ScheduleForm-words" aria-live="polite">
          {lines.map((line, place) => (
            <li key={place}>{cronText(line, trans) ?? line.trim()}</li>
          ))}
        </ul>
      )}
    </>
  );
}

function AfterFields({ draft, trans }: IScheduleFields): React.JSX.Element {
  return (
    <>
      <ChoiceField
        {...{ draft, trans, name: 'after', label: trans.__('After') }}
        help={draft.others.length === 0 ? trans.__('There is no other schedule yet.') : ''}
        choices={[
          ...(draft.text('after') === '' ? [{ value: '', label: '' }] : []),
          ...draft.others.map(({ id, name }) => ({ value: id, label: name }))
        ]}
      />
      <ChoiceField
        {...{ draft, trans, name: 'on', label: trans.__('Once a run of it') }}
        choices={[
          { value: 'success', label: trans.__('has succeeded') },
          { value: 'end', label: trans.__('has ended, however') }
        ]}
      />
    </>
  );
}

/** Days and times, a row each. */
function Times({ draft, trans }: IScheduleFields): React.JSX.Element {
  const rows = draft.text('at').split('\n');
  const set = (changed: readonly string[]): void => draft.set('at', changed.join('\n'));
  const [first = '', ...others] = rows;
  const put = (place: number, text: string): void =>
    set(rows.map((each, index) => (index === place ? text : each)));
  return (
    <>
      <Field {...{ draft, trans, name: 'at', label: trans.__('At') }}>
        <MomentInput value={first} onText={text => put(0, text)} required />
      </Field>
      {others.map((each, index) => (
        <div key={index} className="aiinfra-ScheduleForm-row">
          <input
            type="datetime-local"
            className="jp-mod-styled"
            aria-label={trans.__('And at')}
            value={each}
            onChange={event => put(index + 1, event.target.value)}
          />
          <IconButton
            icon={closeIcon}
            label={trans.__('Leave this time out')}
            onClick={() => set(rows.filter((_each, place) => place !== index + 1))}
          />
        </div>
      ))}
      <button
        type="button"
        className="jp-mod-styled aiinfra-TextButton aiinfra-ScheduleForm-add"
        onClick={() => set([...rows, ''])}
      >
        <addIcon.react tag="span" />
        {trans.__('Another time')}
      </button>
    </>
  );
}

/** The next ten times, as the server makes them of what stands there. */
function Preview({ draft, trans }: IScheduleFields): React.JSX.Element | null {
  const { slots, previewError, isPreviewing } = draft;
  const kind = draft.text('when') as WhenKind;
  if (kind === 'none' || kind === 'after' || kind === 'file') {
    return null;
  }
  const now = Date.now() / 1000;
  return (
    <div className="aiinfra-ScheduleForm-preview" aria-busy={isPreviewing}>
      <h3 id="aiinfra-schedule-next">{trans.__('The next ten times')}</h3>
      {previewError !== null && (
        <p className="aiinfra-Form-problem" role="alert">
          {[previewError.message, previewError.hint].filter(Boolean).join('; ')}
        </p>
      )}
      {slots === null && previewError === null && (
        <p className="aiinfra-Form-help">
          {isPreviewing ? trans.__('Asking…') : trans.__('Not known yet.')}
        </p>
      )}
      {slots?.length === 0 && (
        <p className="aiinfra-Form-problem">{trans.__('It would never run.')}</p>
      )}
      {slots !== null && slots.length > 0 && (
        <ol aria-labelledby="aiinfra-schedule-next">
          {slots.map(each => (
            <li key={each.slot}>
              <span>{each.text}</span>
              <span className="aiinfra-ScheduleForm-in">{inText(each, now, trans)}</span>
            </li>
          ))}
        </ol>
      )}
    </div>
  );
}

function inText(
  { slot, start_at: start }: SlotItem,
  now: number,
  trans: TranslationBundle
): string {
  const wait = trans.__('in %1', durationText(Math.max(0, slot - now), true));
  const late = start - slot;
  return late < 0.5 ? wait : trans.__('%1, begun %2 later', wait, durationText(late, true));
}
