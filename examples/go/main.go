// The backend of a mini-program that uses longlink: login, tickets, orders that are pushed, webhooks.
package main

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	ticketTime  = 2 * time.Hour
	longestBody = 2 << 20 // bytes
)

var statuses = []string{"placed", "making", "ready"}

// Order is what a user has ordered. JSON shows the fields that the user may see.
type Order struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	user   string
	placed time.Time
}

// Backend answers the requests.
type Backend struct {
	longlink              *Longlink
	wechat                WeChat
	ticketSecret, shopKey []byte

	mutex  sync.Mutex
	orders map[string]*Order // by their ids; yours are in a database
}

func main() {
	var missing []string
	need := func(name string) string {
		if os.Getenv(name) == "" {
			missing = append(missing, name)
		}
		return os.Getenv(name)
	}
	or := func(name, otherwise string) string {
		if value := os.Getenv(name); value != "" {
			return value
		}
		return otherwise
	}
	b := &Backend{
		wechat: WeChat{
			Server: or("WECHAT", "https://api.weixin.qq.com"), AppID: need("APPID"), AppSecret: need("APPSECRET"),
		},
		longlink:     NewLonglink(need("LONGLINK_API"), need("LONGLINK_KEY"), need("WEBHOOK_SECRET")),
		ticketSecret: []byte(need("TICKET_SECRET")),
		shopKey:      []byte(need("SHOP_KEY")),
		orders:       map[string]*Order{},
	}
	if len(missing) > 0 {
		log.Fatalf("These environment variables are missing: %s", strings.Join(missing, ", "))
	}

	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", handler(b.login))
	mux.HandleFunc("POST /orders", handler(b.placeOrder))
	mux.HandleFunc("GET /orders", handler(b.listOrders))
	mux.HandleFunc("POST /orders/{id}/status", handler(b.setStatus))
	mux.HandleFunc("GET /online", handler(b.online))
	mux.HandleFunc("POST /longlink", handler(b.webhook))
	mux.HandleFunc("/", handler(func(_ http.ResponseWriter, r *http.Request) error {
		return &Problem{http.StatusNotFound, "no_such_path", fmt.Sprintf("There is no %s %s.", r.Method, r.URL.Path), 0}
	}))
	address := net.JoinHostPort(or("HOST", "127.0.0.1"), or("PORT", "3000"))
	server := &http.Server{Addr: address, Handler: http.MaxBytesHandler(mux, longestBody), ReadHeaderTimeout: 10 * time.Second}
	log.Printf("starting on http://%s", address)
	log.Fatal(server.ListenAndServe())
}

func (b *Backend) login(w http.ResponseWriter, r *http.Request) error {
	var body struct{ Code any }
	if err := read(r, &body); err != nil {
		return err
	}
	code, _ := body.Code.(string)
	if code == "" {
		return &Problem{http.StatusBadRequest, "no_code", "The request needs the code of wx.login.", 0}
	}
	// An id of your own, found by the openid in your database, is better: other users see the id.
	user, err := b.wechat.Openid(r.Context(), code)
	if err != nil {
		return err
	}
	expires := time.Now().Add(ticketTime).Unix()
	ticket, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": user, "exp": expires}).SignedString(b.ticketSecret)
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, map[string]any{"user": user, "ticket": ticket, "expires": expires})
	return nil
}

func (b *Backend) placeOrder(w http.ResponseWriter, r *http.Request) error {
	user, err := b.userOf(r)
	if err != nil {
		return err
	}
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return err
	}
	order := Order{ID: hex.EncodeToString(id), Status: "placed", user: user, placed: time.Now()}
	b.mutex.Lock()
	stored := order
	b.orders[order.ID] = &stored
	b.mutex.Unlock()
	answer(w, http.StatusCreated, map[string]any{"order": order})
	return nil
}

func (b *Backend) listOrders(w http.ResponseWriter, r *http.Request) error {
	user, err := b.userOf(r)
	if err != nil {
		return err
	}
	orders := []Order{}
	b.mutex.Lock()
	for _, order := range b.orders {
		if order.user == user {
			orders = append(orders, *order)
		}
	}
	b.mutex.Unlock()
	slices.SortFunc(orders, func(one, other Order) int { return one.placed.Compare(other.placed) })
	answer(w, http.StatusOK, map[string]any{"orders": orders})
	return nil
}

// setStatus is called by your own programs, perhaps twice. The order is stored first and pushed then: after an
// error the caller tries again, and the page reads the order when it opens.
func (b *Backend) setStatus(w http.ResponseWriter, r *http.Request) error {
	if subtle.ConstantTimeCompare([]byte(bearer(r)), b.shopKey) != 1 {
		return &Problem{http.StatusUnauthorized, "no_key", "The request needs the key of the shop.", 0}
	}
	var body struct{ Status any }
	if err := read(r, &body); err != nil {
		return err
	}
	status, _ := body.Status.(string)
	order, err := b.move(r.PathValue("id"), status)
	if err != nil {
		return err
	}
	key := fmt.Sprintf("order-%s-%s", order.ID, order.Status)
	push, err := b.longlink.Push(r.Context(), order.user, map[string]any{"order": order}, key)
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, map[string]any{"order": order, "push": push})
	return nil
}

// move stores the status of an order.
func (b *Backend) move(id, status string) (Order, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	order, ok := b.orders[id]
	if !ok {
		return Order{}, &Problem{http.StatusNotFound, "no_order", "There is no such order.", 0}
	}
	before, after := slices.Index(statuses, order.Status), slices.Index(statuses, status)
	if after < 1 {
		return Order{}, &Problem{http.StatusBadRequest, "bad_status", "The status is making or ready.", 0}
	}
	if after < before {
		return Order{}, &Problem{http.StatusConflict, "status_went_back", "The order is " + order.Status + ".", 0}
	}
	order.Status = status
	return *order, nil
}

func (b *Backend) online(w http.ResponseWriter, r *http.Request) error {
	if _, err := b.userOf(r); err != nil {
		return err
	}
	answer(w, http.StatusOK, map[string]any{"users": b.longlink.Online()})
	return nil
}

func (b *Backend) webhook(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if !b.longlink.IsSigned(r.Header.Get("Longlink-Timestamp"), r.Header.Get("Longlink-Signature"), body) {
		return &Problem{http.StatusUnauthorized, "bad_signature", "The request is not signed by longlink, or is too old.", 0}
	}
	var webhook Webhook
	if err := json.Unmarshal(body, &webhook); err != nil {
		return err
	}
	if err := b.longlink.Take(r.Context(), webhook); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// userOf returns the user whose ticket the request has.
func (b *Backend) userOf(r *http.Request) (string, error) {
	key := func(*jwt.Token) (any, error) { return b.ticketSecret, nil }
	ticket, err := jwt.Parse(bearer(r), key, jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired())
	if err == nil {
		var user string
		if user, err = ticket.Claims.GetSubject(); err == nil && user != "" {
			return user, nil
		}
	}
	return "", &Problem{http.StatusUnauthorized, "no_ticket", "The request needs a valid ticket. Log in again.", 0}
}

func bearer(r *http.Request) string {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return ""
	}
	return token
}

// read reads the JSON of a request.
func read(r *http.Request, into any) error {
	if err := json.NewDecoder(r.Body).Decode(into); err != nil {
		return &Problem{http.StatusBadRequest, "bad_request", "The body is not the JSON that is expected.", 0}
	}
	return nil
}
