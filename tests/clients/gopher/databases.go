package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/neo4j/neo4j-go-driver/v5/neo4j"
	"github.com/redis/go-redis/v9"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

func throughPgx(ctx context.Context, address, word string) (string, error) {
	c, err := pgx.Connect(ctx, address)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close(ctx) }()
	if _, err := c.Exec(ctx, "insert into seen values ($1)", word); err != nil {
		return "", err
	}
	var read string
	err = c.QueryRow(ctx, "select word from seen where word = $1", word).Scan(&read)
	return read, err
}

func throughRedis(ctx context.Context, address, word string) (string, error) {
	o, err := redis.ParseURL(address)
	if err != nil {
		return "", err
	}
	c := redis.NewClient(o)
	defer c.Close()
	if err := c.Set(ctx, word, word, 0).Err(); err != nil {
		return "", err
	}
	return c.Get(ctx, word).Result()
}

func throughBolt(ctx context.Context, address, word string) (string, error) {
	d, err := neo4j.NewDriverWithContext(address, neo4j.BasicAuth("neo4j", "password-of-the-pod", ""))
	if err != nil {
		return "", err
	}
	defer func() { _ = d.Close(ctx) }()
	for _, query := range []string{
		"create (:Seen {word: $word})",
		"match (s:Seen {word: $word}) return s.word as word",
	} {
		result, err := neo4j.ExecuteQuery(ctx, d, query, map[string]any{"word": word}, neo4j.EagerResultTransformer)
		if err != nil {
			return "", err
		}
		if len(result.Records) == 1 {
			read, _, err := neo4j.GetRecordValue[string](result.Records[0], "word")
			return read, err
		}
	}
	return "", fmt.Errorf("the word %q was not found", word)
}

func throughMongo(_ context.Context, address, word string) (string, error) {
	// The driver honours a deadline of its own only.
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := mongo.Connect(options.Client().ApplyURI(address))
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Disconnect(context.WithoutCancel(ctx)) }()
	seen := c.Database("test").Collection("seen")
	if _, err := seen.InsertOne(ctx, bson.M{"word": word}); err != nil {
		return "", err
	}
	var found struct{ Word string }
	err = seen.FindOne(ctx, bson.M{"word": word}).Decode(&found)
	return found.Word, err
}
