// Package dashboard holds the pages of the dashboard and what they load: scripts, styles
// and a picture, all of them within the program. It knows of nothing else here.
//
// htmx.min.js and sse.min.js are htmx 2.0.11 and its extension htmx-ext-sse 2.2.4,
// uPlot.iife.min.js and uPlot.min.css are uPlot 1.6.32, as npm has them; their licences are
// beside them.
package dashboard
