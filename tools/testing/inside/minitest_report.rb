# Writes one JSON line for each test that minitest ran, and a last one at its end. `report` is set before this text.
begin
  require "json"
  require "minitest"

  class ForklockReporter < Minitest::AbstractReporter
    def initialize(path)
      @file = File.open(path, "w")
      @count = 0
    end

    def record(result)
      outcome = result.skipped? ? "skipped" : result.passed? ? "passed" : "failed"
      text = result.failures.map { |one| "#{one.message}\n#{(one.error.backtrace || []).join("\n")}" }.join("\n")
      write("class" => result.class_name, "name" => result.name, "outcome" => outcome, "text" => text.scrub)
      @count += 1
    end

    def report
      write("end" => @count)
      @file.close
    end

    def passed?
      true
    end

    private

    def write(row)
      @file.puts(JSON.generate(row))
      @file.flush
    end
  end

  Minitest.define_singleton_method(:plugin_forklock_init) { |_| reporter << ForklockReporter.new(report) }
  Minitest.extensions << "forklock"
rescue LoadError
  nil # no minitest: its tests will say so
end
