import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
import java.util.List;

/**
 * Serves mongo-java-server, an implementation of MongoDB's wire protocol that keeps its data in
 * memory, on a free port of loopback, and prints its address. It ends with its standard input.
 */
public class MongoWire {
    /** What today's drivers ask for at least; the server itself claims to be older. */
    private static final MongoVersion VERSION = new MongoVersion() {
        @Override
        public List<Integer> getVersionArray() {
            return List.of(4, 4, 0);
        }

        @Override
        public int getWireVersion() {
            return 9;
        }
    };

    public static void main(String[] args) throws Exception {
        MongoServer server = new MongoServer(new MemoryBackend().version(VERSION));
        System.out.println("127.0.0.1:" + server.bind().getPort());
        System.in.transferTo(System.err);
        server.shutdownNow();
    }
}
