/** What a budget or the idle policy says of a job, below its row. */

import type { TranslationBundle } from '@jupyterlab/translation';
import { stopIcon } from '@jupyterlab/ui-components';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import React from 'react';

import type { BudgetItem, JobItem, Notice } from '../../api/types';
import { warningIcon } from '../../icons';
import { noticeAnswers, noticeKind } from '../../models/noticewords';
import { clockText } from './poolfacts';

export interface IJobNoticeProps {
  job: JobItem;
  notice: Notice;
  /** The budget that says it, where it is one that is known. */
  budget: BudgetItem | undefined;
  /** Whether the Tab key comes to its buttons. */
  isReachable: boolean;
  trans: TranslationBundle;
  onAnswer: (command: string, args: ReadonlyPartialJSONObject) => void;
}

export function JobNotice(props: IJobNoticeProps): React.JSX.Element {
  const { job, notice, budget, isReachable, trans, onAnswer } = props;
  const Icon = notice.kind === 'stop' ? stopIcon : warningIcon;
  const answers = noticeAnswers(notice, job, budget, trans);
  return (
    <div className="aiinfra-Notice" role="gridcell" data-kind={notice.kind}>
      <span className="aiinfra-Notice-icon" aria-hidden="true">
        <Icon.react tag="span" />
      </span>
      <p className="aiinfra-Notice-text">
        <b>{noticeKind(notice, job, trans)}</b> {notice.text}
        {notice.kind === 'question' && notice.until !== null && isElsewhere(notice.until) && (
          <> {trans.__('(%1 here)', clockText(notice.until, new Date()))}</>
        )}
      </p>
      {answers.length > 0 && (
        <div className="aiinfra-Notice-answers">
          {answers.map(({ label, title, command, args }) => (
            <button
              key={label}
              className="jp-mod-styled aiinfra-TextButton"
              title={title}
              tabIndex={isReachable ? 0 : -1}
              onClick={event => {
                event.stopPropagation(); // or the row would open
                onAnswer(command, args);
              }}
            >
              {label}
            </button>
          ))}
        </div>
      )}
    </div>
  );
}

/** Whether clocks here say something else than UTC, in which the text is. */
function isElsewhere(seconds: number): boolean {
  return new Date(seconds * 1000).getTimezoneOffset() !== 0;
}
