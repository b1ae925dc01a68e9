/** A button of a row that is an icon: its words are a label and a tooltip. */

import { Button, type LabIcon } from '@jupyterlab/ui-components';
import React from 'react';

export function IconButton({
  icon: Icon,
  label,
  className = '',
  disabled = false,
  onClick
}: {
  icon: LabIcon;
  label: string;
  className?: string;
  disabled?: boolean;
  onClick: () => void;
}): React.JSX.Element {
  return (
    <Button
      minimal
      small
      className={`aiinfra-IconButton ${className}`}
      title={label}
      aria-label={label}
      disabled={disabled}
      onClick={onClick}
    >
      <Icon.react tag="span" />
    </Button>
  );
}
