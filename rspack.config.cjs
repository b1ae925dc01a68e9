// What JupyterLab's builder is told beside its own: style sheets go out without what nobody reads.

const path = require('node:path');

module.exports = {
  module: {
    rules: [
      {
        test: /\.css$/,
        include: ['labextension/style', 'jupyter_aiinfra/widgets'].map(folder =>
          path.resolve(__dirname, folder)
        ),
        enforce: 'pre',
        loader: 'builtin:lightningcss-loader',
        options: { minify: true }
      }
    ]
  }
};
