package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// Backup writes a backup of an instance to w and tells what is in it, but for the
// registry's entry. On an error what was written is none.
func (c *Client) Backup(ctx context.Context, id tenant.ID, w io.Writer) (tenant.Backup, error) {
	var b tenant.Backup
	resp, err := c.send(ctx, http.MethodGet, instancePath(id)+"/backup", nil)
	if err != nil {
		return b, err
	}
	defer resp.Body.Close()
	if err := json.Unmarshal([]byte(resp.Header.Get(wire.BackupHeader)), &b); err != nil {
		return b, c.stranger(err)
	}
	body := &reader{r: resp.Body}
	if _, err := io.Copy(w, body); err != nil {
		if body.err != nil {
			return b, c.explain(ctx, body.err)
		}
		return b, fmt.Errorf("write backup of %s: %w", id, err)
	}
	return b, nil
}

// reader remembers how reading has failed.
type reader struct {
	r   io.Reader
	err error
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

// Restore replaces an instance's data with that of a backup.
func (c *Client) Restore(ctx context.Context, id tenant.ID, backup io.Reader, o tenant.RestoreOptions) (done wire.Restored, err error) {
	_, err = c.ask(ctx, http.MethodPost, instancePath(id)+"/restore?"+restoreQuery(o).Encode(), io.NopCloser(backup), &done)
	return done, err
}

// Import makes an instance of a backup.
func (c *Client) Import(ctx context.Context, id tenant.ID, backup io.Reader, o tenant.RestoreOptions) (done wire.Restored, err error) {
	query := restoreQuery(o)
	query.Set("as", id.String())
	_, err = c.ask(ctx, http.MethodPost, "/import?"+query.Encode(), io.NopCloser(backup), &done)
	return done, err
}

func restoreQuery(o tenant.RestoreOptions) url.Values {
	query := url.Values{}
	for name, set := range map[string]bool{"force": o.Force, "keep_old": o.KeepOld, "outside_links": o.OutsideLinks, "data_only": o.DataOnly} {
		if set {
			query.Set(name, strconv.FormatBool(set))
		}
	}
	return query
}
