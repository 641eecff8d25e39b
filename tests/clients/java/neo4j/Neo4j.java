import java.nio.file.Path;
import org.neo4j.configuration.GraphDatabaseSettings;
import org.neo4j.configuration.connectors.BoltConnector;
import org.neo4j.configuration.connectors.ConnectorPortRegister;
import org.neo4j.configuration.connectors.ConnectorType;
import org.neo4j.configuration.helpers.SocketAddress;
import org.neo4j.dbms.api.DatabaseManagementService;
import org.neo4j.dbms.api.DatabaseManagementServiceBuilder;
import org.neo4j.kernel.internal.GraphDatabaseAPI;

/**
 * Serves Neo4j with its data in a folder, with Bolt on a free port of loopback, and prints its
 * address. It ends with its standard input.
 *
 * <p>The first argument is the folder, the second the password of the user neo4j.
 */
public class Neo4j {
    public static void main(String[] args) throws Exception {
        DatabaseManagementService service = new DatabaseManagementServiceBuilder(Path.of(args[0]))
                .setConfig(GraphDatabaseSettings.auth_enabled, true)
                .setConfig(BoltConnector.enabled, true)
                .setConfig(BoltConnector.listen_address, new SocketAddress("127.0.0.1", 0))
                .setConfig(BoltConnector.advertised_address, new SocketAddress("127.0.0.1", 0))
                .build();
        GraphDatabaseAPI system = (GraphDatabaseAPI) service.database("system");
        // A first password has to be changed before anything else may be done.
        system.executeTransactionally("alter user neo4j set plaintext password '" + args[1] + "' change not required");
        var bolt = system.getDependencyResolver().resolveDependency(ConnectorPortRegister.class)
                .getLocalAddress(ConnectorType.BOLT);
        System.out.println(bolt.getHost() + ":" + bolt.getPort());
        System.in.transferTo(System.err);
        service.shutdown();
    }
}
