package client

import "time"

// SetPromptness says within what time answers begin that need no work.
func (c *Client) SetPromptness(d time.Duration) { c.promptness = d }
