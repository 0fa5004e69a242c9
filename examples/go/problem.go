package main

import (
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"strconv"
)

// Problem is an error that the caller of this backend is told.
type Problem struct {
	Status     int    // of HTTP
	Code       string // for programs
	Message    string // for people
	RetryAfter int    // after how many seconds the caller may try again; 0: a repetition does not help
}

func (p *Problem) Error() string { return p.Message }

// answer writes a value as JSON.
func answer(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(value); err != nil {
		log.Printf("an answer was not written: %v", err)
	}
}

// handler makes a function that may fail into one that tells the caller what went wrong.
func handler(f func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := f(w, r)
		if err == nil {
			return
		}
		var problem *Problem
		if !errors.As(err, &problem) {
			log.Printf("%s %s: %v", r.Method, r.URL.Path, err)
			problem = &Problem{http.StatusInternalServerError, "internal", "Something went wrong. The log says what.", 0}
		}
		if problem.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(problem.RetryAfter))
		}
		answer(w, problem.Status, map[string]any{
			"error": map[string]string{"code": problem.Code, "message": problem.Message},
		})
	}
}
