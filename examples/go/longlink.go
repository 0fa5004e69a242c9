package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	longlinkTimeout = 3 * time.Second
	attempts        = 3
	longestWait     = 2   // seconds; a caller who would have to wait longer is told so
	oldestWebhook   = 300 // seconds
)

// Longlink is the backend's side of longlink: its HTTP interface and its webhooks.
type Longlink struct {
	API, Key      string
	WebhookSecret []byte
	http          http.Client

	// The last event that was taken, who is online, and the last event that users knew of when longlink was
	// asked. In several processes this belongs into your database.
	mutex    sync.Mutex
	epoch    string
	seq      int64
	users    map[string]bool
	snapshot int64
}

// NewLonglink makes the client of the interface at api.
func NewLonglink(api, key, webhookSecret string) *Longlink {
	return &Longlink{
		API: api, Key: key, WebhookSecret: []byte(webhookSecret),
		http: http.Client{Timeout: longlinkTimeout}, users: map[string]bool{},
	}
}

// Push sends a message to a user. It waits for a user who is away. A call that is repeated with the same key sends
// it only once, so that every caller, also this function, may try again.
//
// It returns "stored" or "queued" if every device of the user gets the message, now or later, "sent" if pages of the
// older protocol get it now, and "offline" if nobody gets it.
func (l *Longlink) Push(ctx context.Context, user string, message any, key string) (string, error) {
	body := map[string]any{"user": user, "from": "orders", "message": message, "keep": true, "idempotencyKey": key}
	for attempt := 1; ; attempt++ {
		var sent struct {
			Results []struct{ State string }
		}
		err := l.ask(ctx, http.MethodPost, "send", body, &sent)
		if err == nil && len(sent.Results) == 1 && sent.Results[0].State != "busy" {
			return sent.Results[0].State, nil
		}
		problem := &Problem{http.StatusServiceUnavailable, "longlink_busy", "The user has too many messages waiting.", 1}
		if err != nil && (!errors.As(err, &problem) || problem.Status != http.StatusServiceUnavailable) {
			return "", err
		}
		if attempt == attempts || problem.RetryAfter > longestWait {
			return "", problem
		}
		select {
		case <-time.After(time.Duration(problem.RetryAfter) * time.Second):
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// ask posts body to a route of longlink's interface, or gets the route, and reads the answer into a value.
func (l *Longlink) ask(ctx context.Context, method, route string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	reader := bytes.NewReader(text)
	if body == nil {
		reader = bytes.NewReader(nil)
	}
	request, err := http.NewRequestWithContext(ctx, method, l.API+"/api/"+route, reader)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+l.Key)
	request.Header.Set("Content-Type", "application/json")
	response, err := l.http.Do(request)
	if err != nil {
		return unreachable(err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusOK {
		if err := json.NewDecoder(response.Body).Decode(into); err != nil {
			return unreachable(err)
		}
		return nil
	}
	var refused struct {
		Error struct{ Code, Message string }
	}
	if err := json.NewDecoder(response.Body).Decode(&refused); err != nil {
		return unreachable(fmt.Errorf("status %d without JSON", response.StatusCode))
	}
	if response.StatusCode == http.StatusTooManyRequests || response.StatusCode >= 500 {
		wait, err := strconv.Atoi(response.Header.Get("Retry-After"))
		if err != nil || wait < 1 {
			wait = 1
		}
		return &Problem{http.StatusServiceUnavailable, "longlink_busy",
			"longlink cannot do this now: " + refused.Error.Code, wait}
	}
	log.Printf("longlink refuses %s: %d %s: %s", route, response.StatusCode, refused.Error.Code, refused.Error.Message)
	return &Problem{http.StatusBadGateway, "longlink_refused", "longlink refuses this: " + refused.Error.Code, 0}
}

// unreachable is the problem when nobody listens, the connection broke, no answer came in time, or a proxy answered
// with a page.
func unreachable(err error) error {
	log.Printf("longlink cannot be reached: %v", err)
	return &Problem{http.StatusServiceUnavailable, "longlink_unreachable",
		"longlink cannot be reached. Try again a little later.", 1}
}

// IsSigned tells whether a webhook is signed with the secret, and was sent in the last five minutes.
func (l *Longlink) IsSigned(timestamp, signature string, body []byte) bool {
	mac := hmac.New(sha256.New, l.WebhookSecret)
	mac.Write([]byte(timestamp + "."))
	mac.Write(body)
	expected := "v1=" + hex.EncodeToString(mac.Sum(nil))
	sent, err := strconv.ParseInt(timestamp, 10, 64)
	return err == nil && hmac.Equal([]byte(signature), []byte(expected)) &&
		math.Abs(float64(time.Now().Unix()-sent)) < oldestWebhook
}

// Webhook is the body of a request that longlink makes.
type Webhook struct {
	Epoch  string
	Events []struct {
		Seq      int64
		Type     string
		User     string
		ToUserID string `json:"toUserId"`
	}
}

// Take takes the events of a webhook, one webhook after the other.
func (l *Longlink) Take(ctx context.Context, webhook Webhook) error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	for _, event := range webhook.Events {
		if webhook.Epoch == l.epoch && event.Seq <= l.seq {
			continue // longlink has sent this event again
		}
		if webhook.Epoch != l.epoch || event.Seq != l.seq+1 {
			// Events are missing, or one of the two programs was started again. If longlink does not answer, it
			// gets an error, and sends the same events again later.
			now, last, users, err := l.whoIsOnline(ctx)
			if err != nil {
				return err
			}
			l.users = users
			if now != webhook.Epoch {
				return nil // events of a server that is gone
			}
			l.epoch, l.snapshot = now, last
		}
		l.seq = event.Seq
		switch {
		case event.Type == "online" && event.Seq > l.snapshot:
			l.users[event.User] = true
		case event.Type == "offline" && event.Seq > l.snapshot:
			delete(l.users, event.User)
		case event.Type == "undelivered":
			// This is the moment for a subscription message of WeChat, which reaches a user who is not in the
			// mini-program.
			log.Printf("undelivered: a message to %s", event.ToUserID)
		}
	}
	return nil
}

// whoIsOnline asks who is online, and which event is the last one that the answer includes.
func (l *Longlink) whoIsOnline(ctx context.Context) (epoch string, seq int64, users map[string]bool, err error) {
	users = map[string]bool{}
	for route := "online"; ; {
		var page struct {
			Users []string
			Next  *string
			Epoch string
			Seq   int64
		}
		if err = l.ask(ctx, http.MethodGet, route, nil, &page); err != nil {
			return
		}
		if route == "online" {
			epoch, seq = page.Epoch, page.Seq
		} else if page.Epoch != epoch {
			err = &Problem{http.StatusServiceUnavailable, "longlink_busy", "longlink was started again.", 1}
			return
		}
		for _, user := range page.Users {
			users[user] = true
		}
		if page.Next == nil {
			return
		}
		route = "online?after=" + url.QueryEscape(*page.Next)
	}
}

// Online returns the users who are online, in the order of their ids.
func (l *Longlink) Online() []string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	users := make([]string, 0, len(l.users))
	for user := range l.users {
		users = append(users, user)
	}
	slices.Sort(users)
	return users
}
